-- What the server's log will hold of the claims, which travel as parameters of statements; and the event trigger of the
-- setup. What is stored for a login goes before what holds for all.
WITH login AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($2)
),
stored AS (
  SELECT s.setrole, s.setdatabase, lower(split_part(setting, '=', 1)) AS name,
         substr(setting, strpos(setting, '=') + 1) AS value
    FROM pg_db_role_setting s
    CROSS JOIN LATERAL unnest(s.setconfig) AS setting
   WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
),
in_force AS (
  SELECT l.oid, l.rolname, g.name, g.context,
         coalesce((SELECT s.value FROM stored s
                    WHERE s.name = g.name AND s.setrole IN (0, l.oid)
                    ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC
                    LIMIT 1),
                  -- What is stored for this session's own role is not what holds for all.
                  CASE WHEN g.source NOT IN ('user', 'database user', 'session', 'client') THEN g.setting END,
                  g.boot_val) AS value
    FROM login l
    CROSS JOIN pg_settings g
   WHERE g.name IN ('log_statement', 'log_min_duration_statement', 'log_min_duration_sample', 'log_transaction_sample_rate',
                    'log_parameter_max_length', 'log_parameter_max_length_on_error')
),
logged AS (
  SELECT i.oid, string_agg(format('%s is %s', i.name, i.value), ', ' ORDER BY i.name) AS settings
    FROM in_force i
   WHERE i.name = 'log_statement' AND lower(i.value) = 'all'
         OR i.name IN ('log_min_duration_statement', 'log_min_duration_sample') AND i.value !~ '^-'
         OR i.name = 'log_transaction_sample_rate' AND i.value::float8 > 0
   GROUP BY i.oid
)
SELECT 'log-prints-claims' AS rule, NULL AS level, format('role %I', i.rolname) AS subject,
       format('%s, and log_parameter_max_length is %s', l.settings, i.value) AS evidence,
       format('ALTER ROLE %I SET log_parameter_max_length = 0;', i.rolname) AS mend
  FROM in_force i
  JOIN logged l ON l.oid = i.oid
 WHERE i.name = 'log_parameter_max_length' AND i.value !~ '^0'
UNION ALL
SELECT 'log-prints-claims-on-error', NULL, format('role %I', i.rolname),
       format('log_parameter_max_length_on_error is %s', i.value),
       format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0;', i.rolname)
  FROM in_force i
 WHERE i.name = 'log_parameter_max_length_on_error' AND i.value !~ '^0'
UNION ALL
SELECT 'guard-off', NULL, format('event trigger %I', evtname), 'it is there and does not fire in ordinary sessions',
       format('ALTER EVENT TRIGGER %I ENABLE;', evtname)
  FROM pg_event_trigger
 WHERE evtname = 'pgusher_guard' AND evtenabled NOT IN ('O', 'A')
 ORDER BY subject, rule
