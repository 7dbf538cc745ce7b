-- The schema "auth": session identity that SQL cannot forge, without an extension, on PostgreSQL 14 to 18.
--
-- pgusher signs the claims of a session and leaves them in the parameter pgusher.claims:
--
--   claims = hmac(body) || body        body = ' claims1 <kid> <epoch> <exp> <json>'
--
-- Every user may overwrite that parameter, so auth.session() believes it only when the HMAC-SHA256 is
-- right, its key is in force, the epoch is this backend's and the expiry lies ahead. Anything else is
-- an error with SQLSTATE 28000; no claims at all is nobody: JSON null, and NULL as user.
--
-- Run it in one transaction (one simple query is one), as a superuser or as a role with CREATEROLE and
-- CREATE on the database. Running it again upgrades in place. No line has a backslash, so its meaning
-- does not hang on standard_conforming_strings, here or when a session compiles a function body.
--
-- What it cannot prevent: a superuser, BYPASSRLS or a file of the server reads the key, and so does a
-- dump made by one of them (pg_dump --exclude-table-data=auth.keys) or a publication FOR ALL TABLES.

-- A table, function or operator planted in the installer's search_path must not be picked up below.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL client_min_messages = warning;

DO $$
BEGIN
  IF to_regrole('pgusher_auth') IS NULL THEN
    CREATE ROLE pgusher_auth NOLOGIN;
  END IF;
  -- Who can become the owner can read the key. Administrators can anyway; nobody else may.
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgusher_auth'
               AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls))
     OR EXISTS (SELECT FROM pg_auth_members WHERE member = 'pgusher_auth'::regrole)
     OR EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
                 WHERE m.roleid = 'pgusher_auth'::regrole AND NOT (r.rolsuper OR r.rolcreaterole))
  THEN
    RAISE EXCEPTION 'role "pgusher_auth" is not fit to own the signing key'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'It must have no attribute, be a member of nothing, and have no member but administrators.';
  END IF;
END $$;

-- A superuser does not need this; an administrator with CREATEROLE does. The end of the script undoes it.
GRANT pgusher_auth TO CURRENT_USER;
CREATE SCHEMA IF NOT EXISTS auth AUTHORIZATION pgusher_auth;

-- The owner of a schema may drop what is in it and put his own in its place. A schema "auth" that somebody
-- made before us is refused; looked at after CREATE SCHEMA, so nobody can slip one in between.
DO $$
DECLARE
  holder text := (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'auth');
BEGIN
  IF holder <> 'pgusher_auth' THEN
    RAISE EXCEPTION 'schema "auth" exists and belongs to %', holder
      USING ERRCODE = 'duplicate_schema', HINT = 'Move it aside, or use the claims mode that it was made for.';
  END IF;
END $$;

SET LOCAL ROLE pgusher_auth;
REVOKE ALL ON SCHEMA auth FROM PUBLIC;
GRANT USAGE ON SCHEMA auth TO PUBLIC;

-- The key as the two padded blocks of RFC 2104 (key xor 0x36.., key xor 0x5c..), so that no SQL has to make them.
CREATE TABLE IF NOT EXISTS auth.keys (
  kid         text PRIMARY KEY CHECK (kid ~ '^[0-9a-f]{16}$'),
  ipad        bytea NOT NULL CHECK (length(ipad) = 64),
  opad        bytea NOT NULL CHECK (length(opad) = 64),
  valid_until timestamptz NOT NULL DEFAULT 'infinity'
);
REVOKE ALL ON auth.keys FROM PUBLIC;
-- pg_read_all_data and pg_write_all_data pass every grant, but not row security: without a policy they
-- can neither read a key nor plant one. The owner is exempt. And ANALYZE must not copy key bytes into
-- pg_statistic, which has no row security. Both only where it is not so yet, for they lock a table that every
-- statement of a session may read.
DO $$
BEGIN
  IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = 'auth.keys'::regclass) THEN
    ALTER TABLE auth.keys ENABLE ROW LEVEL SECURITY;
  END IF;
  IF EXISTS (SELECT FROM pg_attribute a WHERE attrelid = 'auth.keys'::regclass AND attname IN ('ipad', 'opad')
                AND to_jsonb(a) ->> 'attstattarget' IS DISTINCT FROM '0') THEN
    ALTER TABLE auth.keys ALTER ipad SET STATISTICS 0, ALTER opad SET STATISTICS 0;
  END IF;
END $$;

-- currval() of this sequence is the epoch: a value of this backend alone, which users can neither read nor
-- write, and which a rollback does not bring back. Unlogged where that exists: setval() on a logged
-- sequence takes a transaction id, and each change of identity would wait for a WAL flush.
CREATE SEQUENCE IF NOT EXISTS auth.epoch;
REVOKE ALL ON SEQUENCE auth.epoch FROM PUBLIC;
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 150000
     AND (SELECT relpersistence FROM pg_class WHERE oid = 'auth.epoch'::regclass) <> 'u' THEN
    EXECUTE 'ALTER SEQUENCE auth.epoch SET UNLOGGED';
  END IF;
END $$;

DROP FUNCTION IF EXISTS auth.mac_matches(bytea, bytea, text, text);

-- Is mac the HMAC-SHA256 of message in lower-case hex, under the key of this name? Both are hashed again under the key
-- before they are compared, so the time that the comparison takes tells nothing about the right one. The key bytes are
-- columns of the query: they never become a variable or a constant, which a user's debug_print_plan would show.
-- This and the next two run within the functions below, as their owner and under their search_path.
CREATE OR REPLACE FUNCTION auth.mac_matches(kid text, message text, mac text) RETURNS bool
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  genuine bool;
BEGIN
  SELECT sha256(k.opad || convert_to(encode(sha256(k.opad || sha256(k.ipad || convert_to(message, 'UTF8'))), 'hex'), 'UTF8'))
         = sha256(k.opad || convert_to(mac, 'UTF8'))
    INTO genuine
    FROM auth.keys k
   WHERE k.kid = mac_matches.kid AND k.valid_until > clock_timestamp();
  RETURN genuine;
END $$;

CREATE OR REPLACE FUNCTION auth.has_expired(claims text) RETURNS bool LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN CASE WHEN split_part(claims, ' ', 5) ~ '^[0-9]{1,18}$'
            THEN split_part(claims, ' ', 5)::float8 <= date_part('epoch', clock_timestamp())
            ELSE true END;

-- Never returns. That it could be true or false is for the conditions that it stands in.
CREATE OR REPLACE FUNCTION auth.refused(reason text) RETURNS bool LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
BEGIN
  RAISE EXCEPTION 'session identity refused' USING ERRCODE = '28000', DETAIL = reason;
END $$;
REVOKE ALL ON FUNCTION auth.mac_matches, auth.has_expired, auth.refused FROM PUBLIC;

-- What is believed is a domain, because a backend plans once what a domain checks, whereas each DISCARD ALL has it plan
-- anew what its functions say; and what is checked was bound when the domain was made, whatever a session sets. What a
-- domain is made over is checked before it, and CASE tries one condition after the other.

DO $$
BEGIN
  -- Made once: sessions know them by their numbers. And in one statement, so that none is ever without its check.
  IF to_regtype('auth.signed') IS NULL THEN
    CREATE DOMAIN auth.signed AS text;
    CREATE DOMAIN auth.genuine AS auth.signed;
    CREATE DOMAIN auth.proven AS text;
  END IF;
  ALTER DOMAIN auth.signed DROP CONSTRAINT IF EXISTS signed_check;
  ALTER DOMAIN auth.genuine DROP CONSTRAINT IF EXISTS genuine_check;
  ALTER DOMAIN auth.proven DROP CONSTRAINT IF EXISTS proven_check;
  REVOKE ALL ON TYPE auth.signed, auth.genuine, auth.proven FROM PUBLIC;

  -- Claims that pgusher has signed, or none.
  ALTER DOMAIN auth.signed ADD CONSTRAINT signed_check CHECK (CASE
    WHEN VALUE = '' THEN true
    WHEN (auth.mac_matches(split_part(VALUE, ' ', 3), substr(VALUE, 65), left(VALUE, 64))
          AND split_part(VALUE, ' ', 2) = 'claims1') IS NOT TRUE
      THEN auth.refused('The signature is wrong, or its key is unknown or retired.')
    ELSE true
  END);

  -- Claims that are this session's, or none. The signature comes first: what is parsed here was written by pgusher.
  -- pgusher.backend is no secret and no proof, only a way to refuse with 28000 where auth.pgusher_init() never ran and
  -- currval() would fail with 55000. A standby cannot run setval(), so there, and only there, the process id has to do.
  ALTER DOMAIN auth.genuine ADD CONSTRAINT genuine_check CHECK (CASE
    WHEN VALUE = '' THEN true
    WHEN current_setting('pgusher.backend', true) IS DISTINCT FROM pg_backend_pid()::text
      OR split_part(VALUE, ' ', 4) <> (CASE WHEN pg_is_in_recovery() THEN concat('pid:', pg_backend_pid())
                                            ELSE currval('auth.epoch')::text END)
      THEN auth.refused('The claims belong to another session.')
    WHEN auth.has_expired(VALUE)
      THEN auth.refused('The claims have expired.')
    ELSE true
  END);

  -- A proof that this backend may take the epoch of the claims behind it, and those.
  ALTER DOMAIN auth.proven ADD CONSTRAINT proven_check CHECK (CASE
    WHEN (auth.mac_matches(split_part(VALUE, ' ', 3),
                           concat(' epoch1 ', split_part(VALUE, ' ', 3), ' ', split_part(VALUE, ' ', 4), ' ', pg_backend_pid()),
                           left(VALUE, 64))
          AND split_part(VALUE, ' ', 4) ~ (CASE WHEN pg_is_in_recovery() THEN '^pid:' ELSE '^[0-9]{1,19}$' END)) IS NOT TRUE
      THEN auth.refused('The proof is wrong, or its key is unknown or retired.')
    WHEN substr(VALUE, 65)::auth.signed = ''
      THEN auth.refused('There are no claims.')
    WHEN auth.has_expired(VALUE)
      THEN auth.refused('The claims have expired.')
    ELSE true
  END);
END $$;

-- The verified claims. Restricted to the leader of a parallel query, for a worker has no currval().
-- The search_path keeps out operators, functions and domains of the caller's, and temporary tables; pg_temp
-- stands last because it would else come first. No EXCEPTION block: a subtransaction is an error inside a
-- parallel query before PostgreSQL 17.
CREATE OR REPLACE FUNCTION auth.session() RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  claims auth.genuine := coalesce(current_setting('pgusher.claims', true), '')::auth.genuine;
BEGIN
  RETURN CASE WHEN claims = '' THEN 'null' ELSE substr(claims, strpos(claims, '{'))::jsonb END;
END $$;

-- The readers below are inlined, so each costs what auth.session() costs. Their bodies were bound when they
-- were created: no search_path reaches them.
CREATE OR REPLACE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN auth.session();

-- The claim "sub", where it is a string. Strict, because a lax path would look into an array.
CREATE OR REPLACE FUNCTION auth.user_id() RETURNS text LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN jsonb_path_query_first(auth.session(), 'strict $.sub ? (@.type() == "string")', '{}', true) #>> '{}';

-- The same where it is a UUID, else NULL.
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE PARALLEL RESTRICTED
RETURN (jsonb_path_query_first(auth.session(),
  'strict $.sub ? (@ like_regex "^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$" flag "i")', '{}', true) #>> '{}')::uuid;

-- What pgusher calls when it gives the session an identity. The proof is an HMAC over epoch and process id
-- that no user ever sees (it travels as a bind parameter): without it nobody moves the epoch, not even
-- back to an older one of his own. setval() is not undone by a rollback and set_config() is; an aborted
-- transaction therefore leaves claims that no longer fit the epoch, which is an error, not another user.
CREATE OR REPLACE FUNCTION auth.pgusher_init(claims text, proof text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  proven auth.proven := concat(proof, claims)::auth.proven;
  writes bool := current_setting('transaction_read_only') <> 'on';
  done   text;
  read   jsonb;
BEGIN
  -- Assignments, because PERFORM would begin a query for each.
  -- A transaction that cannot write, as none of a standby can, keeps the epoch that it has. If it is the one
  -- that was asked for, as after a RESET, that is enough; if not, auth.session() refuses below.
  done := concat(CASE WHEN writes THEN setval('auth.epoch', split_part(claims, ' ', 4)::bigint) END,
                 set_config('pgusher.backend', pg_backend_pid()::text, false), set_config('pgusher.claims', claims, false));
  -- Claims that no reader would accept must fail here, not at the user's first query.
  read := CASE WHEN writes THEN substr(claims, strpos(claims, '{'))::jsonb ELSE auth.session() END;
END $$;
-- Granted to each served role, so that nobody else can as much as try.
REVOKE ALL ON FUNCTION auth.pgusher_init FROM PUBLIC;

RESET ROLE;
REVOKE pgusher_auth FROM CURRENT_USER;
