-- What the setup of a database amounts to, a line for each thing: $1 served roles, $2 their logins, $3 the schema that
-- their grants are about, or null. Two of these, one taken before a script and one behind it, tell what the script does.
WITH
  subjects AS (SELECT oid, rolname FROM pg_catalog.pg_roles
                WHERE rolname = ANY ($1::text[]) OR rolname = ANY ($2::text[]) OR rolname = 'pgusher_auth'),
  grants AS (
    SELECT 'database ' || pg_catalog.quote_ident(datname) AS object,
           coalesce(datacl, pg_catalog.acldefault('d', datdba)) AS acl
      FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'schema ' || pg_catalog.quote_ident(nspname), coalesce(nspacl, pg_catalog.acldefault('n', nspowner))
      FROM pg_catalog.pg_namespace WHERE nspname IN ('auth', 'public', $3::text)
    UNION ALL
    SELECT 'language ' || lanname, coalesce(lanacl, pg_catalog.acldefault('l', lanowner))
      FROM pg_catalog.pg_language WHERE lanname IN ('sql', 'plpgsql')
    UNION ALL
    SELECT pg_catalog.concat(CASE WHEN c.relkind = 'S' THEN 'sequence ' ELSE 'table ' END,
             pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)),
           coalesce(c.relacl, pg_catalog.acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND (n.nspname IN ('auth', $3::text) OR c.oid = 'pg_catalog.pg_stat_activity'::pg_catalog.regclass)
    UNION ALL
    SELECT 'function ' || p.oid::pg_catalog.regprocedure::text, coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = 'auth' OR n.nspname = 'pg_catalog' AND p.proname IN (
             'pg_terminate_backend', 'pg_cancel_backend', 'pg_stat_get_activity', 'pg_stat_get_backend_activity',
             'lo_create', 'lo_creat', 'lo_from_bytea')
    UNION ALL
    SELECT pg_catalog.concat('future tables of ', d.defaclrole::pg_catalog.regrole, ' in schema ',
             pg_catalog.quote_ident(n.nspname)), d.defaclacl
      FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
     WHERE n.nspname = $3::text AND d.defaclobjtype = 'r'
  )
SELECT pg_catalog.format('role %I', r.rolname) AS subject,
       pg_catalog.concat_ws(', ', CASE WHEN r.rolcanlogin THEN 'can log in' ELSE 'cannot log in' END,
         CASE WHEN r.rolinherit THEN NULL ELSE 'inherits nothing' END,
         CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolcreaterole THEN 'makes roles' END,
         CASE WHEN r.rolcreatedb THEN 'makes databases' END, CASE WHEN r.rolreplication THEN 'replicates' END,
         CASE WHEN r.rolbypassrls THEN 'bypasses row-level security' END) AS state
  FROM pg_catalog.pg_roles r JOIN subjects USING (oid)
UNION ALL
SELECT pg_catalog.format('membership of %I in %s', s.rolname, m.roleid::pg_catalog.regrole),
       pg_catalog.concat('options: ', pg_catalog.string_agg(pg_catalog.concat_ws(' ', CASE WHEN m.admin_option THEN 'admin' END,
         CASE WHEN coalesce(pg_catalog.to_jsonb(m) ->> 'inherit_option', 'false') = 'true' THEN 'inherit' END,
         CASE WHEN coalesce(pg_catalog.to_jsonb(m) ->> 'set_option', 'true') = 'true' THEN 'set' END), '; '))
  FROM pg_catalog.pg_auth_members m JOIN subjects s ON s.oid = m.member
 GROUP BY s.rolname, m.roleid
UNION ALL
SELECT 'schema auth', pg_catalog.concat('owner ', nspowner::pg_catalog.regrole)
  FROM pg_catalog.pg_namespace WHERE nspname = 'auth'
UNION ALL
SELECT pg_catalog.concat(CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' ELSE 'table' END, ' auth.', c.relname),
       pg_catalog.concat_ws(', ', 'owner ' || c.relowner::pg_catalog.regrole::text,
         CASE WHEN c.relpersistence = 'u' THEN 'unlogged' END, CASE WHEN c.relrowsecurity THEN 'row security' END,
         (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'not null' END, pg_catalog.pg_get_expr(d.adbin, d.adrelid),
            CASE WHEN a.atttypid = 'bytea'::pg_catalog.regtype
                 THEN 'statistics ' || coalesce(pg_catalog.to_jsonb(a) ->> 'attstattarget', '-1') END), ', ' ORDER BY a.attnum)
            FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           WHERE a.attrelid = c.oid AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped))
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'auth' AND c.relkind <> 'c'
UNION ALL
SELECT 'function ' || p.oid::pg_catalog.regprocedure::text,
       pg_catalog.concat('owner ', p.proowner::pg_catalog.regrole, ', source ',
         pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(
           pg_catalog.pg_get_functiondef(p.oid), 'UTF8')), 'hex'), 12))
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'auth' AND p.prokind IN ('f', 'p')
UNION ALL
SELECT pg_catalog.format('privileges of %s on %s', CASE WHEN a.grantee = 0 THEN 'everybody'
           ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END, g.object),
       pg_catalog.string_agg(DISTINCT a.privilege_type || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END, ', ')
  FROM grants g, pg_catalog.aclexplode(g.acl) a
 -- What the owner has of its own objects goes without saying.
 WHERE NOT (a.grantor = a.grantee AND g.object LIKE '% auth%')
 GROUP BY a.grantee, g.object
UNION ALL
SELECT 'extension pg_session_jwt', 'version ' || extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_session_jwt'
UNION ALL
SELECT 'event trigger ' || evtname,
       pg_catalog.concat(evtfoid::pg_catalog.regprocedure, ', ', pg_catalog.array_to_string(evttags, ', '),
         CASE WHEN evtenabled = 'D' THEN ', disabled' END)
  FROM pg_catalog.pg_event_trigger WHERE evtname = 'pgusher_guard'
ORDER BY subject
