-- The body of a DO block; setup.rs declares roles in front of it. Undoes extension.sql. The schema goes too, unless it has
-- something else in it or is somebody else's.
DECLARE
  served text;
BEGIN
  DROP EXTENSION IF EXISTS pg_session_jwt;
  IF to_regnamespace('auth') IS NOT NULL THEN
    FOREACH served IN ARRAY roles LOOP
      IF to_regrole(quote_ident(served)) IS NOT NULL THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA auth FROM %I', served);
      END IF;
    END LOOP;
    BEGIN
      DROP SCHEMA auth;
    EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist THEN
      RAISE WARNING 'kept: schema auth, because %', SQLERRM;
    END;
  END IF;
END
