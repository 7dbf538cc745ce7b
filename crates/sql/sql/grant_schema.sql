-- The body of a DO block; setup.rs declares name and roles in front of it.
--
-- The tables that are there, and those that this owner will make. Row-Level Security decides about the rows; where it is
-- off, these grants open the table to everybody with the role, and so a warning names it.
DECLARE
  served text;
  bare   text;
BEGIN
  FOREACH served IN ARRAY roles LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', name, served);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', name, served);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I',
                   name, served);
  END LOOP;
  FOR bare IN SELECT relname FROM pg_class
               WHERE relnamespace = to_regnamespace(quote_ident(name)) AND relkind IN ('r', 'p') AND NOT relrowsecurity
               ORDER BY relname LOOP
    RAISE WARNING 'open: table % has no row-level security, so every session of these roles reads and writes all of it',
      quote_ident(name) || '.' || quote_ident(bare);
  END LOOP;
END
