-- The body of a DO block; roles.rs declares served and login in front of it. Undoes served_role.sql.
--
-- A role that something still hangs on stays, with the reason. Roles are the whole cluster's: where another database has
-- granted something to the served role, that database may be served through the login too, so both stay. They also stay
-- where one of them has another membership, or another member: DROP ROLE would end that without a word.
DECLARE
  roles     oid[] := ARRAY(SELECT oid FROM pg_roles WHERE rolname IN (served, login));
  elsewhere text := (
    SELECT string_agg(DISTINCT datname, ', ') FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid
     WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY (roles) AND datname <> current_database());
  -- Not who removes it, nor who from 16 on administers what he made.
  others    text := (
    SELECT string_agg(format('role %I is a member of role %I', l.rolname, r.rolname), ', ')
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
     WHERE (m.roleid = ANY (roles) OR m.member = ANY (roles))
       AND (r.rolname, l.rolname) <> (served, login) AND l.rolname <> current_user
       AND NOT (m.admin_option AND coalesce(to_jsonb(m) ->> 'inherit_option' = 'false'
                                            AND to_jsonb(m) ->> 'set_option' = 'false', false)));
  reason    text;
BEGIN
  IF elsewhere IS NOT NULL THEN
    RAISE WARNING 'kept: roles % and %, which are used in other databases: %',
      quote_ident(login), quote_ident(served), elsewhere;
    RETURN;
  END IF;
  IF others IS NOT NULL THEN
    RAISE WARNING 'kept: roles % and %, because %', quote_ident(login), quote_ident(served), others;
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
