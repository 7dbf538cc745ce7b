-- Every role that a client can be: the served roles, their logins (by SET ROLE NONE), and whatever SET ROLE leads to from
-- there. Superusers are left out: they pass every test of a right, and are told as what they are by 01 and 02.
WITH RECURSIVE seat(oid) AS (
  SELECT oid FROM pg_roles WHERE rolname = ANY ($1) OR rolname = ANY ($2)
  UNION
  SELECT m.roleid
    FROM seat
    JOIN pg_auth_members m ON m.member = seat.oid
   WHERE coalesce((to_jsonb(m) ->> 'set_option')::bool, true)
)
SELECT r.rolname::text
  FROM seat
  JOIN pg_roles r ON r.oid = seat.oid
 WHERE NOT r.rolsuper
