-- The body of a DO block. Undoes guard.sql, which may never have been run.
BEGIN
  IF EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgusher_guard') THEN
    DROP EVENT TRIGGER pgusher_guard;
    DROP FUNCTION auth.pgusher_guard();
  END IF;
END
