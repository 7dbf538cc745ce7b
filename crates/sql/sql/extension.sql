-- The body of a DO block; setup.rs declares roles in front of it.
--
-- The extension's functions are everybody's to execute, but its schema is not everybody's to use. Its versions differ in
-- which functions there are, so what a role needs is the schema and nothing by name.
DECLARE
  served text;
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_session_jwt;
  FOREACH served IN ARRAY roles LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA auth TO %I', served);
  END LOOP;
END
