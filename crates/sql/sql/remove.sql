-- Takes out what auth.sql installed, in one transaction. Objects are named one by one and nothing cascades:
-- while a policy, default or view of yours still calls a reader, this fails and lists it. The served roles
-- and their logins stay, for your grants hang on them.
SET LOCAL search_path = pg_catalog, pg_temp;
GRANT pgusher_auth TO CURRENT_USER;
SET LOCAL ROLE pgusher_auth;
DROP FUNCTION auth.pgusher_init, auth.uid, auth.user_id, auth.jwt, auth.session;
DROP DOMAIN auth.proven, auth.genuine, auth.signed;
DROP FUNCTION auth.mac_matches, auth.has_expired, auth.refused;
DROP SEQUENCE auth.epoch;
DROP TABLE auth.keys;
DROP SCHEMA auth;
RESET ROLE;
REVOKE pgusher_auth FROM CURRENT_USER;

-- The owner is shared by the whole cluster; the last database to let go of it drops it.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_shdepend
                  WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'pgusher_auth'::regrole) THEN
    DROP ROLE pgusher_auth;
  END IF;
END $$;
