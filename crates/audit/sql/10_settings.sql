-- What is stored for logins and for databases, and is in force when a session begins. A served role cannot log in,
-- so what is stored for it never is.
WITH stored AS (
  SELECT s.setrole <> 0 AS is_login, p.name, p.value,
         CASE WHEN s.setdatabase = 0 THEN format('role %s', o.role)
              WHEN s.setrole = 0 THEN format('database %s', o.database)
              ELSE format('role %s in database %s', o.role, o.database) END AS subject,
         CASE WHEN s.setdatabase = 0 THEN format('ROLE %s', o.role)
              WHEN s.setrole = 0 THEN format('DATABASE %s', o.database)
              ELSE format('ROLE %s IN DATABASE %s', o.role, o.database) END AS altered
    FROM pg_db_role_setting s
    CROSS JOIN LATERAL (
      SELECT CASE s.setrole WHEN 0 THEN 'ALL' ELSE quote_ident(pg_get_userbyid(s.setrole)) END,
             (SELECT quote_ident(datname) FROM pg_database WHERE oid = s.setdatabase)) AS o(role, database)
    CROSS JOIN LATERAL unnest(s.setconfig) AS setting
    CROSS JOIN LATERAL (SELECT lower(split_part(setting, '=', 1)), substr(setting, strpos(setting, '=') + 1))
      AS p(name, value)
   WHERE (s.setrole = 0 OR pg_get_userbyid(s.setrole) = ANY ($2))
     AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
),
mended AS (
  SELECT *, format('ALTER %s RESET %s;', altered, (SELECT string_agg(quote_ident(part), '.' ORDER BY n)
                                                     FROM unnest(string_to_array(name, '.')) WITH ORDINALITY AS x(part, n)))
           AS mend,
         -- Who one is, what runs, and whether triggers and policies do.
         name IN ('role', 'session_authorization', 'session_replication_role', 'row_security', 'local_preload_libraries')
           OR name ~ '^(request|pgusher|pg_session_jwt|auth)\.'
           OR is_login AND name IN ('search_path', 'session_preload_libraries') AS is_dangerous
    FROM stored
)
SELECT 'setting-dangerous' AS rule, NULL AS level, subject, format('%s is stored as %L', name, value) AS evidence, mend
  FROM mended
 WHERE is_dangerous
UNION ALL
-- What only a superuser can store is an operator's. Not to log parameters is what another rule asks for.
SELECT 'setting-of-login', NULL, subject, format('%s is stored as %L', name, value), mend
  FROM mended
 WHERE is_login AND NOT is_dangerous AND name <> 'log_parameter_max_length_on_error'
   AND coalesce((SELECT context FROM pg_settings g WHERE lower(g.name) = mended.name), 'user') = 'user'
 ORDER BY subject, rule, evidence
