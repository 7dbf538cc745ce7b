-- Where clients may create something.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
place AS (
  SELECT 'schema-create' AS rule, 'schema' AS kind, 'CREATE' AS privilege, n.nspname AS name, s.oid AS seat, s.rolname,
         coalesce(n.nspacl, acldefault('n', n.nspowner)) AS acl, n.nspowner AS owner
    FROM pg_namespace n, seat s
   -- Nobody can be granted more in schemas of temporary objects than they have: what TEMPORARY allows.
   WHERE n.nspname !~ '^pg_(toast|temp_|toast_temp_)' AND has_schema_privilege(s.oid, n.oid, 'CREATE')
  UNION ALL
  SELECT CASE p.privilege WHEN 'CREATE' THEN 'database-create' ELSE 'database-temporary' END, 'database', p.privilege,
         d.datname, s.oid, s.rolname, coalesce(d.datacl, acldefault('d', d.datdba)), d.datdba
    FROM pg_database d, seat s, (VALUES ('CREATE'), ('TEMPORARY')) AS p(privilege)
   WHERE d.datname = current_database() AND has_database_privilege(s.oid, d.oid, p.privilege)
)
SELECT p.rule, NULL AS level, format('%s %I', p.kind, p.name) AS subject,
       concat(p.privilege, ' is had by ',
              string_agg(DISTINCT quote_ident(p.rolname), ', ' ORDER BY quote_ident(p.rolname)),
              ', granted to ' || string_agg(DISTINCT a.grantee, ', ' ORDER BY a.grantee)) AS evidence,
       CASE WHEN count(a.grantee) > 0 THEN
         format('REVOKE %s ON %s %I FROM %s;', p.privilege, p.kind, p.name, string_agg(DISTINCT a.grantee, ', ')) END AS mend
  FROM place p
  LEFT JOIN LATERAL (
    SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee
      FROM aclexplode(p.acl) x
     WHERE x.privilege_type = p.privilege AND x.grantee <> p.owner
       AND CASE x.grantee WHEN 0 THEN true ELSE pg_has_role(p.seat, x.grantee, 'USAGE') END
  ) a ON true
 GROUP BY p.rule, p.kind, p.name, p.privilege
 ORDER BY subject, rule
