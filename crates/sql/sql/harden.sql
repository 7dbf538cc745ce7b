-- The body of a DO block; setup.rs declares undo and logins in front of it.
--
-- Takes from PUBLIC what one session could use against another of the same role, and leaves it to those who need it for
-- their work. It concerns every role of this database, so it is the operator's choice. Most of it only a superuser can
-- do; what could not be done is told by a warning, and so is what a managed database allows nobody.
--
-- set_config() stays everybody's. It does nothing that SET does not, and a session's identity does not rest on it: each
-- session begins with it, to set the claims and what its client had set, as the served role itself.
DECLARE
  database   name := current_database();
  chief      name := (SELECT datdba::regrole FROM pg_database WHERE datname = database);
  -- The functions of the schema auth are made by its owner, those of an application by the owner of the database.
  makers     name[] := ARRAY(SELECT rolname FROM pg_roles WHERE rolname = chief OR rolname = 'pgusher_auth');
  watchers   name[] := ARRAY[chief, 'pg_read_all_stats'];
  enders     name[] := ARRAY[chief, 'pg_signal_backend'];
  step       record;
  look       text;
  everybodys bool;
  skipped    text[] := '{}';
BEGIN
  FOR step IN
    SELECT * FROM (VALUES
      -- Temporary tables and functions, which stand in front of others of their name, and fill the disk.
      (format('TEMPORARY ON DATABASE %I', database), NULL::name[],
       'database', database::text, 'TEMPORARY'),
      -- Functions and tables in everybody's search_path, for others to call in place of what they meant
      -- (CVE-2018-1058). From 15 on nobody has it. It is not given back.
      ('CREATE ON SCHEMA public', NULL, 'schema', 'public', 'CREATE'),
      -- Ending the sessions and statements of others with the same login.
      ('EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint)', enders,
       'function', 'pg_terminate_backend(integer, bigint)', 'EXECUTE'),
      ('EXECUTE ON FUNCTION pg_cancel_backend(integer)', enders, 'function', 'pg_cancel_backend(integer)', 'EXECUTE'),
      -- Reading the statements of others with the same login, and what stands in them.
      ('SELECT ON pg_stat_activity', watchers, 'table', 'pg_stat_activity', 'SELECT'),
      ('EXECUTE ON FUNCTION pg_stat_get_activity(integer)', watchers,
       'function', 'pg_stat_get_activity(integer)', 'EXECUTE'),
      ('EXECUTE ON FUNCTION pg_stat_get_backend_activity(integer)', watchers,
       'function', 'pg_stat_get_backend_activity(integer)', 'EXECUTE'),
      -- Large objects: no policy is about them, they outlive the session and fill the disk.
      ('EXECUTE ON FUNCTION lo_create(oid)', ARRAY[chief], 'function', 'lo_create(oid)', 'EXECUTE'),
      ('EXECUTE ON FUNCTION lo_creat(integer)', ARRAY[chief], 'function', 'lo_creat(integer)', 'EXECUTE'),
      ('EXECUTE ON FUNCTION lo_from_bytea(oid, bytea)', ARRAY[chief],
       'function', 'lo_from_bytea(oid, bytea)', 'EXECUTE'),
      -- Functions of one's own and DO: loops that nothing but a time limit ends, and functions in a WHERE that see
      -- rows before a policy does, where a release of Postgres has such a gap.
      ('USAGE ON LANGUAGE plpgsql', makers, 'language', 'plpgsql', 'USAGE'),
      ('USAGE ON LANGUAGE sql', makers, 'language', 'sql', 'USAGE')
    ) AS steps (what, keepers, kind, object, privilege)
  LOOP
    CONTINUE WHEN undo AND step.kind = 'schema';
    look := format('SELECT has_%s_privilege(%L, %L, %L)', step.kind, 'public', step.object, step.privilege);
    EXECUTE look INTO everybodys;
    CONTINUE WHEN everybodys = undo;
    BEGIN
      -- Without the right to it, some objects answer with a warning and some with an error; a look will do.
      PERFORM set_config('client_min_messages', 'error', true);
      EXECUTE format(CASE WHEN undo THEN 'GRANT %s TO PUBLIC' ELSE 'REVOKE %s FROM PUBLIC' END, step.what);
      IF cardinality(step.keepers) > 0 THEN
        EXECUTE format(CASE WHEN undo THEN 'REVOKE %s FROM %s' ELSE 'GRANT %s TO %s' END, step.what,
                       (SELECT string_agg(quote_ident(keeper), ', ') FROM unnest(step.keepers) AS keeper));
      END IF;
    EXCEPTION WHEN insufficient_privilege THEN
      NULL;
    END;
    PERFORM set_config('client_min_messages', 'warning', true);
    EXECUTE look INTO everybodys;
    IF everybodys <> undo THEN
      skipped := skipped || step.what;
    END IF;
  END LOOP;
  IF skipped <> '{}' THEN
    RAISE WARNING 'skipped, because only a superuser can % PUBLIC: %',
      CASE WHEN undo THEN 'give this to' ELSE 'take this from' END, array_to_string(skipped, '; ');
  END IF;
END
