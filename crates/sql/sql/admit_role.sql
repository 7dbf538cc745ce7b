-- The body of a DO block; roles.rs declares served in front of it. The session that a served role gets starts with a
-- call of this function, which nobody else can as much as try.
BEGIN
  GRANT pgusher_auth TO CURRENT_USER;
  SET LOCAL ROLE pgusher_auth;
  EXECUTE format('GRANT EXECUTE ON FUNCTION auth.pgusher_init TO %I', served);
  RESET ROLE;
  REVOKE pgusher_auth FROM CURRENT_USER;
END
