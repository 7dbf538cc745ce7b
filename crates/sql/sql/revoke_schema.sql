-- The body of a DO block; setup.rs declares name and roles in front of it. Undoes grant_schema.sql.
DECLARE
  served text;
BEGIN
  FOREACH served IN ARRAY roles LOOP
    IF to_regrole(quote_ident(served)) IS NOT NULL THEN
      EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM %I',
                     name, served);
      EXECUTE format('REVOKE SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I FROM %I', name, served);
      EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM %I', name, served);
    END IF;
  END LOOP;
END
