-- The body of a DO block; roles.rs declares served and login in front of it. Undoes served_role.sql.
--
-- A role that something still hangs on stays, with the reason. Roles are the whole cluster's: where another database has
-- granted something to the served role, that database may be served through the login too, so both stay.
DECLARE
  roles     oid[] := ARRAY(SELECT oid FROM pg_roles WHERE rolname IN (served, login));
  elsewhere text := (
    SELECT string_agg(DISTINCT datname, ', ') FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
     WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (roles) AND datname <> current_database());
  reason    text;
BEGIN
  IF elsewhere IS NOT NULL THEN
    RAISE WARNING 'kept: roles % and %, which are used in other databases: %',
      quote_ident(login), quote_ident(served), elsewhere;
    RETURN;
  END IF;
  IF EXISTS (SELECT FROM pg_database, aclexplode(datacl) a
              WHERE datname = current_database() AND a.grantee = ANY (roles)) THEN
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM %I', current_database(), login);
  END IF;
  EXECUTE format('DROP ROLE IF EXISTS %I', login);
  EXECUTE format('DROP ROLE IF EXISTS %I', served);
EXCEPTION WHEN dependent_objects_still_exist THEN
  GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
  RAISE WARNING 'kept: roles % and %, on which there hang: %',
    quote_ident(login), quote_ident(served), replace(reason, chr(10), ', ');
END
