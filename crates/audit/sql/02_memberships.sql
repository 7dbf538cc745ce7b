-- The roles that can be reached from a login or a served role. From 16 on each grant says whether the member may become
-- the role (SET) and whether it has the role's rights without that (INHERIT), and the same grant may be there once for
-- each grantor; before, a member may always, and its own attribute decides about inheritance.
WITH RECURSIVE
server AS (
  SELECT current_setting('server_version_num')::int >= 160000 AS has_options
),
served AS (
  SELECT r.oid AS role, l.oid AS login, r.rolname AS role_name, l.rolname AS login_name
    FROM unnest($1, $2) AS p(role, login)
    JOIN pg_roles r ON r.rolname = p.role
    JOIN pg_roles l ON l.rolname = p.login
),
client(oid) AS (
  SELECT oid FROM pg_roles WHERE rolname = ANY ($1) OR rolname = ANY ($2)
),
edge AS (
  SELECT m.member, m.roleid, u.rolname AS member_name, r.rolname AS role_name, m.admin_option AS admin,
         coalesce((to_jsonb(m) ->> 'set_option')::bool, true) AS sets,
         coalesce((to_jsonb(m) ->> 'inherit_option')::bool, u.rolinherit) AS inherits,
         CASE WHEN s.has_options THEN format(' GRANTED BY %I', pg_get_userbyid(m.grantor)) ELSE '' END AS grantor
    FROM server s, pg_auth_members m
    JOIN pg_roles r ON r.oid = m.roleid
    JOIN pg_roles u ON u.oid = m.member
),
-- All but the one that there has to be.
surplus AS (
  SELECT e.*
    FROM edge e
    JOIN client c ON c.oid = e.member
   WHERE NOT EXISTS (SELECT FROM served s WHERE s.login = e.member AND s.role = e.roleid)
),
-- What a surplus membership leads to, itself included.
reached(member, via, roleid, sets, inherits) AS (
  SELECT member, roleid, roleid, sets, inherits FROM surplus
  UNION
  SELECT p.member, p.via, e.roleid, p.sets AND e.sets, p.inherits AND e.inherits
    FROM reached p
    JOIN edge e ON e.member = p.roleid
),
power AS (
  SELECT r.oid, r.rolname,
         CASE WHEN r.rolname ~ '^pg_' THEN 'predefined-role-reached' ELSE 'powerful-role-reached' END AS rule,
         concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
                   CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                   CASE WHEN r.rolreplication THEN 'REPLICATION' END) AS attributes
    FROM pg_roles r
   WHERE r.rolname ~ '^pg_' OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication
)
-- Rights are inherited; attributes are not, so it takes SET ROLE to have them.
SELECT p.rule, NULL AS level, format('role %I', p.rolname) AS subject,
       concat(format('%I ', pg_get_userbyid(r.member)),
              CASE WHEN bool_or(r.sets) THEN 'can become it' ELSE 'inherits its rights' END,
              CASE WHEN r.via <> r.roleid THEN format(' through %I', pg_get_userbyid(r.via)) END,
              ', it has ' || nullif(p.attributes, '')) AS evidence,
       (SELECT string_agg(format('REVOKE %I FROM %I%s;', e.role_name, e.member_name, e.grantor), ' ')
          FROM edge e WHERE e.member = r.member AND e.roleid = r.via) AS mend
  FROM reached r
  JOIN power p ON p.oid = r.roleid
 WHERE r.sets OR (r.inherits AND p.rule = 'predefined-role-reached')
 GROUP BY p.rule, p.rolname, p.attributes, r.member, r.via, r.roleid
UNION ALL
SELECT 'login-has-other-role', NULL, format('role %I', e.member_name),
       concat('the login is a member of ', quote_ident(e.role_name), ', which it does not serve'),
       string_agg(format('REVOKE %I FROM %I%s;', e.role_name, e.member_name, e.grantor), ' ')
  FROM surplus e
 WHERE e.member IN (SELECT login FROM served) AND e.roleid NOT IN (SELECT oid FROM power)
 GROUP BY e.member_name, e.role_name
UNION ALL
SELECT 'served-role-becomes-other', NULL, format('role %I', e.member_name),
       format('SET ROLE %I leads out of it', e.role_name),
       string_agg(format(CASE WHEN s.has_options THEN 'GRANT %I TO %I WITH INHERIT TRUE, SET FALSE%s;'
                              ELSE 'REVOKE %I FROM %I%s;' END, e.role_name, e.member_name, e.grantor), ' ')
  FROM server s, surplus e
 WHERE e.member NOT IN (SELECT login FROM served) AND e.sets AND e.roleid NOT IN (SELECT oid FROM power)
 GROUP BY e.member_name, e.role_name
UNION ALL
-- Whoever has a role's rights has its ADMIN OPTIONs too.
SELECT 'admin-option', NULL, format('role %I', e.member_name),
       format('it may grant %I to others, and take it from them', e.role_name),
       string_agg(format('REVOKE ADMIN OPTION FOR %I FROM %I%s;', e.role_name, e.member_name, e.grantor), ' ')
  FROM edge e
 WHERE e.admin AND (e.member IN (SELECT oid FROM client)
                    OR e.member IN (SELECT roleid FROM reached WHERE sets OR inherits))
 GROUP BY e.member_name, e.role_name
UNION ALL
SELECT 'membership-missing', NULL, format('role %I', s.login_name),
       concat(CASE WHEN EXISTS (SELECT FROM edge e WHERE e.member = s.login AND e.roleid = s.role)
                   THEN 'its membership has SET FALSE: it cannot become '
                   ELSE 'it is no member of ' END, quote_ident(s.role_name)),
       format(CASE WHEN v.has_options THEN 'GRANT %I TO %I WITH ADMIN FALSE, INHERIT FALSE, SET TRUE;'
                   ELSE 'GRANT %I TO %I;' END, s.role_name, s.login_name)
  FROM server v, served s
 WHERE NOT EXISTS (SELECT FROM edge e WHERE e.member = s.login AND e.roleid = s.role AND e.sets)
UNION ALL
SELECT 'membership-inherits', NULL, format('role %I', s.login_name),
       format('it has the rights of %I without becoming it', s.role_name),
       string_agg(format('GRANT %I TO %I WITH INHERIT FALSE%s;', e.role_name, e.member_name, e.grantor), ' ')
  FROM server v, served s
  JOIN edge e ON e.member = s.login AND e.roleid = s.role
 WHERE v.has_options AND e.inherits
 GROUP BY s.login_name, s.role_name
 ORDER BY subject, rule, evidence
