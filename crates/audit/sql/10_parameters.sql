-- Rights on parameters of the server.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
grantee(oid, name) AS (
  SELECT DISTINCT r.oid, quote_ident(r.rolname)
    FROM seat
    JOIN pg_roles r ON pg_has_role(seat.oid, r.oid, 'USAGE')
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
