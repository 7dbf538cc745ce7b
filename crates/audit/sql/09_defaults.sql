-- Rights on what is yet to be created. What Postgres itself grants by default is not here, but with the objects.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
granted AS (
  SELECT d.defaclrole, d.defaclnamespace, d.defaclobjtype AS type, x.grantee, x.privilege_type AS privilege,
         x.is_grantable, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS name,
         quote_ident(pg_get_userbyid(d.defaclrole)) AS creator
    FROM pg_default_acl d, aclexplode(d.defaclacl) x
   WHERE x.grantee <> d.defaclrole
     AND (x.grantee = 0 OR EXISTS (SELECT FROM seat s WHERE pg_has_role(s.oid, x.grantee, 'USAGE')))
),
told AS (
  SELECT CASE type WHEN 'r' THEN 'default-table-grant' ELSE 'default-schema-grant' END AS rule,
         CASE type WHEN 'r' THEN 'TABLES' ELSE 'SCHEMAS' END AS kind, *
    FROM granted
   WHERE type = 'r' OR (type = 'n' AND privilege = 'CREATE')
)
SELECT t.rule, NULL AS level,
       concat('default privileges of ', t.creator, ' in schema ' || quote_ident(n.nspname)) AS subject,
       concat(string_agg(DISTINCT t.privilege, ', ' ORDER BY t.privilege), ' on ', lower(t.kind), ' to ', t.name,
              CASE WHEN bool_or(t.is_grantable) THEN ', who may grant it on' END) AS evidence,
       format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE %s ON %s FROM %s;', t.creator,
              ' IN SCHEMA ' || quote_ident(n.nspname), string_agg(DISTINCT t.privilege, ', ' ORDER BY t.privilege),
              t.kind, t.name) AS mend
  FROM told t
  LEFT JOIN pg_namespace n ON n.oid = t.defaclnamespace
 GROUP BY t.rule, t.kind, t.creator, n.nspname, t.name
 ORDER BY subject, rule, evidence
