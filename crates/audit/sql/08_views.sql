-- Views that clients reach and that read with their owner's rights: all before PostgreSQL 15, later those without
-- security_invoker.
WITH RECURSIVE seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
grantee(oid, name) AS (
  SELECT DISTINCT r.oid, quote_ident(r.rolname)
    FROM seat
    JOIN pg_roles r ON pg_has_role(seat.oid, r.oid, 'USAGE')
  UNION ALL
  SELECT 0, 'PUBLIC'
),
view AS (
  SELECT c.oid, c.relowner, c.relnamespace, c.relname, c.relacl,
         EXISTS (SELECT FROM pg_options_to_table(c.reloptions)
                  WHERE option_name = 'security_invoker' AND option_value::bool) AS asks_as_caller
    FROM pg_class c
   WHERE c.relkind = 'v'
),
reached AS (
  SELECT v.oid, v.oid::regclass AS name, v.relowner,
         (SELECT string_agg(g.name, ', ' ORDER BY g.oid) FROM grantee g
           WHERE g.oid IN (SELECT grantee FROM aclexplode(v.relacl) WHERE grantee <> v.relowner
                           UNION ALL
                           SELECT x.grantee
                             FROM pg_attribute a
                             CROSS JOIN LATERAL aclexplode(a.attacl) x
                            WHERE a.attrelid = v.oid)) AS grantees
    FROM view v
    JOIN pg_namespace n ON n.oid = v.relnamespace
   WHERE NOT v.asks_as_caller AND n.nspname NOT IN ('pg_catalog', 'information_schema')
     AND format('%s.%s', n.nspname, v.relname) <> ALL ($3)
     AND EXISTS (SELECT FROM seat r WHERE has_schema_privilege(r.oid, n.oid, 'USAGE'))
     AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = v.oid AND d.deptype = 'e')
),
-- What a view reads, and as whom: a view in it again as its own owner, or as whoever asks it. Views of the system
-- decide for themselves what their reader may see.
reads AS (
  SELECT v.oid AS view, v.oid AS relation, v.relowner AS reader FROM reached v WHERE v.grantees IS NOT NULL
  UNION
  SELECT r.view, d.refobjid, CASE WHEN v.asks_as_caller THEN r.reader ELSE v.relowner END
    FROM reads r
    JOIN view v ON v.oid = r.relation
    JOIN pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
   WHERE v.relnamespace <> 'pg_catalog'::regnamespace
),
source AS (
  SELECT r.view, c.oid::regclass AS name,
         -- The catalogs that not everybody may read have no policies either.
         CASE WHEN n.nspname = 'pg_catalog'
              THEN NOT EXISTS (SELECT FROM seat x WHERE has_table_privilege(x.oid, c.oid, 'SELECT')
                                                          OR has_any_column_privilege(x.oid, c.oid, 'SELECT'))
              ELSE c.relrowsecurity AND (o.rolsuper OR o.rolbypassrls
                                         OR NOT c.relforcerowsecurity AND pg_has_role(o.oid, c.relowner, 'USAGE'))
         END AS is_passed,
         n.nspname <> 'pg_catalog' AND format('%s.%s', n.nspname, c.relname) <> ALL ($3) AS is_private
    FROM reads r
    JOIN pg_class c ON c.oid = r.relation AND (c.relkind IN ('r', 'p', 'f', 'm') OR c.relnamespace = 'pg_catalog'::regnamespace)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_roles o ON o.oid = r.reader
   WHERE n.nspname <> 'information_schema'
),
found AS (
  SELECT v.name, v.grantees, o.rolname AS owner, o.rolsuper OR o.rolbypassrls AS is_powerful,
         string_agg(DISTINCT s.name::text, ', ') FILTER (WHERE s.is_passed) AS passed,
         string_agg(DISTINCT s.name::text, ', ') FILTER (WHERE s.is_private) AS private
    FROM reached v
    JOIN pg_roles o ON o.oid = v.relowner
    JOIN source s ON s.view = v.oid
   GROUP BY v.name, v.grantees, o.rolname, is_powerful
)
SELECT 'view-owner-rights' AS rule, CASE WHEN passed IS NULL THEN 'warning' END AS level,
       format('view %s', name) AS subject,
       CASE WHEN passed IS NOT NULL THEN format('%s may use it; it reads %s as %I, who passes the policies', grantees, passed, owner)
            ELSE format('%s may use it; it reads %s as %I', grantees, private, owner) END AS evidence,
       CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN format('ALTER VIEW %s SET (security_invoker = true);', name)
            ELSE format('REVOKE ALL ON %s FROM %s;', name, grantees) END AS mend
  FROM found
 WHERE passed IS NOT NULL
       OR private IS NOT NULL AND (is_powerful OR current_setting('server_version_num')::int >= 150000)
 ORDER BY subject, rule
