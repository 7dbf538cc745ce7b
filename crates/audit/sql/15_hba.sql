-- From where the server takes a login, by the first line that fits. Lines for names of hosts, networks and groups of
-- roles are an operator's own choice of who may knock; those that take anybody are none.
WITH login AS (
  SELECT rolname FROM pg_roles WHERE rolname = ANY ($2)
),
line AS (
  SELECT l.rolname, h.line_number, h.type, h.address, h.auth_method,
         h.address IN ('all', '0.0.0.0', '::') AND coalesce(h.netmask, '0.0.0.0') IN ('0.0.0.0', '::') AS is_anywhere
    FROM login l
    JOIN pg_hba_file_rules h
      ON h.error IS NULL AND h.type <> 'local'
         AND (h.user_name && ARRAY['all', l.rolname::text]
              OR EXISTS (SELECT FROM unnest(h.user_name) AS u(name)
                          JOIN pg_roles g ON g.rolname = substr(u.name, 2)
                         WHERE u.name LIKE '+%' AND pg_has_role(l.rolname, g.oid, 'MEMBER')))
         AND h.database && ARRAY['all', current_database()::text]
),
anywhere AS (
  SELECT DISTINCT ON (rolname, family) *
    FROM line
    CROSS JOIN LATERAL (SELECT CASE address WHEN '::' THEN 6 ELSE 4 END) AS f(family)
   WHERE is_anywhere
   ORDER BY rolname, family, line_number
)
SELECT 'hba-anywhere' AS rule, NULL AS level, format('role %I', rolname) AS subject,
       format('line %s of pg_hba.conf takes it from everywhere (%s %s %s)', line_number, type, address, auth_method)
         AS evidence, NULL AS mend
  FROM anywhere
 WHERE auth_method <> 'reject'
UNION ALL
SELECT 'hba-trust', NULL, format('role %I', rolname),
       format('line %s of pg_hba.conf asks for no password (%s %s)', line_number, type, address), NULL
  FROM line
 WHERE auth_method = 'trust' AND address NOT IN ('127.0.0.1', '::1', 'samehost')
   AND NOT EXISTS (SELECT FROM line r
                    WHERE r.rolname = line.rolname AND r.is_anywhere AND r.line_number < line.line_number)
 ORDER BY subject, rule, evidence
