-- The role that owns the schema auth and so can read the key: nobody logs in as it, and only administrators can become it.
WITH owner AS (
  SELECT * FROM pg_roles WHERE rolname = 'pgusher_auth'
)
SELECT 'auth-owner-role' AS rule, NULL AS level, 'role pgusher_auth' AS subject, format('it has %s', a.keyword) AS evidence,
       format('ALTER ROLE pgusher_auth NO%s;', a.keyword) AS mend
  FROM owner o
  JOIN (VALUES ('rolcanlogin', 'LOGIN'), ('rolsuper', 'SUPERUSER'), ('rolbypassrls', 'BYPASSRLS'),
               ('rolcreaterole', 'CREATEROLE'), ('rolcreatedb', 'CREATEDB'), ('rolreplication', 'REPLICATION'))
    AS a(has, keyword) ON (to_jsonb(o) ->> a.has)::bool
UNION ALL
SELECT 'auth-owner-role', NULL, 'role pgusher_auth', format('%I is a member of it', r.rolname),
       format('REVOKE pgusher_auth FROM %I;', r.rolname)
  FROM owner o
  JOIN pg_auth_members m ON m.roleid = o.oid
  JOIN pg_roles r ON r.oid = m.member
 WHERE NOT (r.rolsuper OR r.rolcreaterole)
UNION ALL
SELECT 'auth-owner-role', NULL, 'role pgusher_auth', format('it is a member of %I', r.rolname),
       format('REVOKE %I FROM pgusher_auth;', r.rolname)
  FROM owner o
  JOIN pg_auth_members m ON m.member = o.oid
  JOIN pg_roles r ON r.oid = m.roleid
 ORDER BY evidence
