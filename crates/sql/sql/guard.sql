-- The body of a DO block; setup.rs declares logins in front of it.
--
-- Refuses commands by which a session could change who sees what, or leave something behind for the next one:
-- DROP OWNED took the role out of policies before 15.20 and its like, and what was left of them showed everybody's
-- rows; the others hand out rights, or make functions for others to call. Ordinary statements never meet it.
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    RAISE WARNING 'skipped, because only a superuser can make it: event trigger pgusher_guard';
    RETURN;
  END IF;
  -- It belongs to whoever runs this and not to pgusher_auth: an event trigger runs with the rights of whoever it is
  -- that it meets, superusers too. A session's user cannot be changed but by a superuser, whatever its role is.
  EXECUTE format($text$
    CREATE OR REPLACE FUNCTION auth.pgusher_guard() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $guard$
    BEGIN
      IF session_user = ANY (%L::name[]) THEN
        RAISE EXCEPTION '%%: not in sessions of %%', tg_tag, session_user USING ERRCODE = 'insufficient_privilege';
      END IF;
    END $guard$ $text$, logins);
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgusher_guard') THEN
    CREATE EVENT TRIGGER pgusher_guard ON ddl_command_start
      WHEN TAG IN ('DROP OWNED', 'ALTER DEFAULT PRIVILEGES', 'CREATE FUNCTION', 'CREATE PROCEDURE',
                   'GRANT', 'REVOKE')
      EXECUTE FUNCTION auth.pgusher_guard();
  END IF;
END
