-- What the hardening of the setup takes from everybody, as far as the rest of it is not in clean.sql.
REVOKE EXECUTE ON FUNCTION pg_terminate_backend, pg_cancel_backend, pg_stat_get_activity, pg_stat_get_backend_activity,
    lo_create, lo_creat, lo_from_bytea FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC;
