-- Rights that clients may pass on.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
object(classid, objid, kind, name, owner, acl) AS (
  SELECT 'pg_class'::regclass, c.oid, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
         format('%I.%I', n.nspname, c.relname), c.relowner, c.relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  UNION ALL
  -- As REVOKE … (column) ON TABLE … wants it.
  SELECT 'pg_class'::regclass, c.oid, format('(%I) TABLE', a.attname), format('%I.%I', n.nspname, c.relname), c.relowner,
         a.attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE NOT a.attisdropped
  UNION ALL
  SELECT 'pg_namespace'::regclass, oid, 'SCHEMA', quote_ident(nspname), nspowner, nspacl FROM pg_namespace
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid, 'ROUTINE',
         format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), p.proowner, p.proacl
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
   WHERE p.proacl IS NOT NULL
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid, 'TYPE', format('%I.%I', n.nspname, t.typname), t.typowner, t.typacl
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  UNION ALL
  SELECT 'pg_database'::regclass, oid, 'DATABASE', quote_ident(datname), datdba, datacl
    FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT 'pg_tablespace'::regclass, oid, 'TABLESPACE', quote_ident(spcname), spcowner, spcacl FROM pg_tablespace
  UNION ALL
  SELECT 'pg_language'::regclass, oid, 'LANGUAGE', quote_ident(lanname), lanowner, lanacl FROM pg_language
  UNION ALL
  SELECT 'pg_foreign_data_wrapper'::regclass, oid, 'FOREIGN DATA WRAPPER', quote_ident(fdwname), fdwowner, fdwacl
    FROM pg_foreign_data_wrapper
  UNION ALL
  SELECT 'pg_foreign_server'::regclass, oid, 'FOREIGN SERVER', quote_ident(srvname), srvowner, srvacl
    FROM pg_foreign_server
  UNION ALL
  SELECT 'pg_largeobject_metadata'::regclass, oid, 'LARGE OBJECT', oid::text, lomowner, lomacl
    FROM pg_largeobject_metadata
)
SELECT 'grant-option' AS rule, NULL AS level,
       concat(lower(regexp_replace(o.kind, '^\(.*\) ', '')), ' ', o.name) AS subject,
       format('%I may grant %s%s', pg_get_userbyid(x.grantee),
              string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type),
              coalesce(' on the column ' || substring(o.kind FROM '^\((.*)\) '), '')) AS evidence,
       format('REVOKE GRANT OPTION FOR %s ON %s %s FROM %I CASCADE;',
              string_agg(DISTINCT x.privilege_type || coalesce(' ' || substring(o.kind FROM '^\(.*\)'), ''), ', '),
              regexp_replace(o.kind, '^\(.*\) ', ''), o.name, pg_get_userbyid(x.grantee)) AS mend
  FROM object o, aclexplode(o.acl) x
 WHERE x.is_grantable AND x.grantee <> o.owner AND x.grantee <> 0
   AND EXISTS (SELECT FROM seat s WHERE pg_has_role(s.oid, x.grantee, 'USAGE'))
 GROUP BY o.classid, o.objid, o.kind, o.name, x.grantee
 ORDER BY subject, evidence
