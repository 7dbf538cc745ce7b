-- The attributes of the served roles and of their logins. A client reaches both: the login by SET ROLE NONE.
WITH client(name, is_login) AS (
  SELECT DISTINCT unnest($1), false
  UNION
  SELECT DISTINCT unnest($2), true
),
attribute(rule, keyword, has) AS (
  VALUES ('role-superuser', 'SUPERUSER', 'rolsuper'),
         ('role-bypassrls', 'BYPASSRLS', 'rolbypassrls'),
         ('role-createrole', 'CREATEROLE', 'rolcreaterole'),
         ('role-replication', 'REPLICATION', 'rolreplication'),
         ('role-createdb', 'CREATEDB', 'rolcreatedb')
)
SELECT a.rule, NULL AS level, format('role %I', r.rolname) AS subject,
       format('%s has %s', CASE WHEN c.is_login THEN 'the login' ELSE 'the served role' END, a.keyword) AS evidence,
       format('ALTER ROLE %I NO%s;', r.rolname, a.keyword) AS mend
  FROM client c
  JOIN pg_roles r ON r.rolname = c.name
  JOIN attribute a ON (to_jsonb(r) ->> a.has)::bool
UNION ALL
-- Only the setup can make a login, for it has a password.
SELECT 'role-missing', NULL, format('role %I', c.name),
       CASE WHEN c.is_login THEN 'there is no such login' ELSE 'there is no such role' END,
       CASE WHEN NOT c.is_login THEN format('CREATE ROLE %I NOLOGIN;', c.name) END
  FROM client c
 WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = c.name)
UNION ALL
SELECT 'served-role-can-login', NULL, format('role %I', r.rolname), 'the served role has LOGIN',
       format('ALTER ROLE %I NOLOGIN;', r.rolname)
  FROM client c
  JOIN pg_roles r ON r.rolname = c.name
 WHERE NOT c.is_login AND r.rolcanlogin
UNION ALL
SELECT 'login-cannot-login', NULL, format('role %I', r.rolname), 'the login has NOLOGIN',
       format('ALTER ROLE %I LOGIN;', r.rolname)
  FROM client c
  JOIN pg_roles r ON r.rolname = c.name
 WHERE c.is_login AND NOT r.rolcanlogin
UNION ALL
-- From 16 on the grant says whether it is inherited, and the attribute only what later grants will say.
SELECT 'login-inherits', NULL, format('role %I', r.rolname), 'the login has INHERIT',
       format('ALTER ROLE %I NOINHERIT;', r.rolname)
  FROM client c
  JOIN pg_roles r ON r.rolname = c.name
 WHERE c.is_login AND r.rolinherit AND current_setting('server_version_num')::int < 160000
 ORDER BY subject, rule
