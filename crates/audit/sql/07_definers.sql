-- SECURITY DEFINER functions that clients may call. What verifies the claims is looked at elsewhere, and what an extension
-- brings is the extension's.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
grantee(oid, name) AS (
  SELECT DISTINCT r.oid, quote_ident(r.rolname)
    FROM seat
    JOIN pg_roles r ON pg_has_role(seat.oid, r.oid, 'USAGE')
   -- A predefined role comes with its rights: what is wrong there is the membership.
   WHERE r.rolname NOT LIKE 'pg\_%'
  UNION ALL
  SELECT 0, 'PUBLIC'
),
-- Who may make temporary tables can have a trigger function run for them, with rows of his own making; and such a
-- table comes first wherever a search_path does not say otherwise.
client AS (
  SELECT coalesce(bool_or(has_database_privilege(oid, current_database(), 'TEMPORARY')), false) AS has_temp FROM seat
),
definer AS (
  SELECT p.oid, p.oid::regprocedure AS name, n.nspname, p.prosrc, l.lanname, p.prosqlbody IS NOT NULL AS is_bound,
         pg_get_userbyid(p.proowner) AS owner, o.rolsuper OR o.rolbypassrls AS is_powerful, client.has_temp,
         CASE p.prorettype WHEN 'trigger'::regtype THEN 'use it as a trigger' ELSE 'call it' END AS way,
         (SELECT substr(setting, 13) FROM unnest(p.proconfig) AS setting WHERE setting LIKE 'search\_path=%') AS path,
         (SELECT string_agg(g.name, ', ' ORDER BY g.oid)
            FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            JOIN grantee g ON g.oid = a.grantee
           WHERE a.grantee <> p.proowner AND a.privilege_type = 'EXECUTE') AS grantees
    FROM pg_proc p
    JOIN pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_language l ON l.oid = p.prolang
    JOIN pg_roles o ON o.oid = p.proowner
    CROSS JOIN client
   WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
     AND EXISTS (SELECT FROM seat r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE'))
     AND p.prorettype <> 'event_trigger'::regtype AND (p.prorettype <> 'trigger'::regtype OR client.has_temp)
     AND NOT (n.nspname = 'auth' AND o.rolname = 'pgusher_auth')
     AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
),
callable AS (
  SELECT *, format('function %s', name) AS subject,
         array(SELECT btrim(s, ' "') FROM regexp_split_to_table(path, ',') s) AS schemas
    FROM definer
   WHERE grantees IS NOT NULL
)
SELECT 'definer-callable' AS rule, CASE WHEN is_powerful THEN 'high' END AS level, subject,
       format('%s may %s; it runs as %I%s', grantees, way, owner,
              CASE WHEN is_powerful THEN ', whom no policy holds' ELSE '' END) AS evidence,
       format('REVOKE EXECUTE ON ROUTINE %s FROM %s;', name, grantees) AS mend
  FROM callable
UNION ALL
-- A body of standard SQL was bound when the function was made.
SELECT 'definer-search-path', nullif(weak.level, ''), subject, weak.evidence,
       format('ALTER ROUTINE %s SET search_path = pg_catalog, %I, pg_temp;', name, nspname)
  FROM callable
  CROSS JOIN LATERAL (
    SELECT '', format('%s may %s, and it runs with the caller''s search_path', grantees, way) WHERE path IS NULL
    UNION ALL
    SELECT '', format('its search_path has %I, where clients may create', n.nspname)
      FROM pg_namespace n
     WHERE n.nspname = ANY (schemas)
       AND EXISTS (SELECT FROM seat r WHERE has_schema_privilege(r.oid, n.oid, 'CREATE'))
    UNION ALL
    SELECT 'warning', format('its search_path, %s, leaves temporary tables in front of all others', path)
     WHERE has_temp AND path <> '""' AND schemas[cardinality(schemas)] <> 'pg_temp'
  ) AS weak(level, evidence)
 WHERE NOT is_bound AND lanname NOT IN ('c', 'internal')
UNION ALL
SELECT 'definer-forgeable', NULL, subject, format('%s may %s, and it reads request.jwt…', grantees, way),
       format('REVOKE EXECUTE ON ROUTINE %s FROM %s;', name, grantees)
  FROM callable
 WHERE $4 AND regexp_replace(coalesce(pg_get_function_sqlbody(oid), prosrc), '--[^\n]*|/\*([^*]|\*+[^*/])*\*+/', ' ', 'g') ~* 'request\.jwt'
 ORDER BY subject, rule
