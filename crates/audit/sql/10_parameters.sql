-- Rights on parameters of the server.
WITH grantee(oid, name) AS (
  SELECT DISTINCT r.oid, quote_ident(r.rolname)
    FROM pg_roles c
    JOIN pg_roles r ON pg_has_role(c.oid, r.oid, 'MEMBER')
   WHERE c.rolname = ANY ($1 || $2) AND NOT c.rolsuper AND NOT r.rolsuper
  UNION ALL
  SELECT 0, 'PUBLIC'
)
SELECT 'parameter-granted' AS rule, NULL AS level, format('parameter %s', p.parname) AS subject,
       format('%s may %s', g.name, CASE a.privilege_type WHEN 'SET' THEN 'set it' ELSE 'change it for the whole server' END)
         AS evidence,
       format('REVOKE %s ON PARAMETER %s FROM %s;', a.privilege_type, p.parname, g.name) AS mend
  FROM pg_parameter_acl p
  CROSS JOIN LATERAL aclexplode(p.paracl) a
  JOIN grantee g ON g.oid = a.grantee
 ORDER BY subject, evidence
