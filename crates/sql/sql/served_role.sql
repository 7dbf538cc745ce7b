-- The body of a DO block; roles.rs declares served, login and secret in front of it. A secret that is null leaves the
-- login's password as it is.
--
-- Whoever is logged in can always go back to the login role, and from there to each of its memberships.
-- So there is one login for one served role, with that membership, no privilege of its own, and nothing more.
DECLARE
  version int := current_setting('server_version_num');
  surplus text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = served) THEN
    EXECUTE format('CREATE ROLE %I NOLOGIN', served);
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
    EXECUTE format('CREATE ROLE %I', login);
  END IF;
  -- Each step only where it is needed: on what is right already, somebody else may have the say.
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = login AND (rolinherit OR NOT rolcanlogin)) THEN
    EXECUTE format('ALTER ROLE %I LOGIN NOINHERIT', login);
  END IF;
  IF secret IS NOT NULL THEN
    EXECUTE format('ALTER ROLE %I PASSWORD %L', login, secret);
  END IF;
  IF NOT has_database_privilege(login, current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
  END IF;
  -- From 16 on inheritance belongs to the grant and no longer follows from NOINHERIT.
  IF NOT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
                  WHERE r.rolname = served AND l.rolname = login AND NOT m.admin_option
                    AND coalesce(to_jsonb(m) ->> 'inherit_option', 'false') = 'false'
                    AND coalesce(to_jsonb(m) ->> 'set_option', 'true') = 'true') THEN
    EXECUTE format(CASE WHEN version >= 160000 THEN 'GRANT %I TO %I WITH ADMIN FALSE, INHERIT FALSE, SET TRUE'
                        ELSE 'GRANT %I TO %I' END, served, login);
  END IF;

  -- Roles may have been there before; what they have beyond this is refused rather than taken away.
  SELECT string_agg(what, ', ') INTO surplus FROM (
    SELECT format('%I has an attribute of an administrator', rolname) FROM pg_roles
     WHERE rolname IN (served, login) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
    UNION ALL
    SELECT format('%I can log in', rolname) FROM pg_roles WHERE rolname = served AND rolcanlogin
    UNION ALL
    SELECT format('%I is a member of %I', l.rolname, r.rolname)
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
     WHERE l.rolname = login AND r.rolname <> served
    UNION ALL
    SELECT format('%I administers or inherits %I', l.rolname, r.rolname)
      FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
     WHERE l.rolname = login AND (m.admin_option OR to_jsonb(m) ->> 'inherit_option' = 'true')
    UNION ALL
    SELECT DISTINCT format('%I owns something', r.rolname)
      FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
     WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = login
  ) AS found(what);
  IF surplus IS NOT NULL THEN
    RAISE EXCEPTION 'role % cannot be served by login %: %', quote_ident(served), quote_ident(login), surplus
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
END
