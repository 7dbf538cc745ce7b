-- A stand-in for the extension pg_session_jwt, for databases that cannot have the real one. For tests alone.
--
-- It does what pgusher has to get along with: it keeps the Ed25519 key that the startup packet has brought, and verifies
-- tokens against it; wants a "jti" that rises; keeps the last token that it took, with no further look at its number or
-- its expiry, through DISCARD ALL and rollbacks, while the setting that holds the token is reset and rolled back like any
-- other; and a parallel worker begins with nothing but the key. Without a key it believes request.jwt.claims.
--
-- What the extension has in static variables is a file here for each backend, because nothing else in reach of SQL is
-- neither undone by a rollback, nor refused where transactions only read, nor writable for users. What differs: a user can
-- SET pg_session_jwt.jwk, in vain; and an empty token is none. Errors have the extension's SQLSTATEs.
--
-- Run it as a superuser, as one simple query.

CREATE SCHEMA auth;

-- The state of this backend: {"started", "x", "y", "jti", "token"}, with x and y the point that is the key. NULL before
-- auth.init(). A worker has what its leader has, except that it has seen no token.
CREATE FUNCTION auth.stand_in_state() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  own   record;
  state jsonb;
BEGIN
  SELECT a.pid, a.backend_start, a.leader_pid INTO own FROM pg_stat_get_activity(pg_backend_pid()) a;
  state := pg_read_file(format('%s/stand_in.%s', current_setting('data_directory'), own.pid), 0, 1000000, true);
  IF (state ->> 'started')::timestamptz = own.backend_start THEN
    RETURN state;
  END IF;
  SELECT a.pid, a.backend_start INTO own FROM pg_stat_get_activity(own.leader_pid) a WHERE own.leader_pid IS NOT NULL;
  state := pg_read_file(format('%s/stand_in.%s', current_setting('data_directory'), own.pid), 0, 1000000, true);
  IF (state ->> 'started')::timestamptz = own.backend_start THEN
    RETURN state || '{"jti": 0, "token": null}';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION auth.stand_in_keep(state jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  started timestamptz := (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid()));
BEGIN
  EXECUTE format('COPY (SELECT %L) TO %L', state || jsonb_build_object('started', started),
                 format('%s/stand_in.%s', current_setting('data_directory'), pg_backend_pid()));
END $$;
REVOKE ALL ON FUNCTION auth.stand_in_keep FROM PUBLIC;

CREATE FUNCTION auth.stand_in_base64url(text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN decode(rpad(translate($1, '-_', '+/'), (length($1) + 3) / 4 * 4, '='), 'base64');

-- Little-endian, as RFC 8032 has its numbers.
CREATE FUNCTION auth.stand_in_number(bytes bytea) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  number numeric := 0;
BEGIN
  FOR i IN REVERSE length(bytes) - 1 .. 0 LOOP
    number := number * 256 + get_byte(bytes, i);
  END LOOP;
  RETURN number;
END $$;

-- The point that a key is, as x and y (RFC 8032, 5.1.3); NULL if it is none.
CREATE FUNCTION auth.stand_in_point(key bytea, OUT x numeric, OUT y numeric)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p constant numeric := 2::numeric ^ 255 - 19;
  d constant numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  root constant numeric := 19681161376707505956807079304988542015446066515923890162744021073123829784752;
  sign int := get_bit(key, 255);
  u numeric;
  v numeric;
  base numeric;
  power numeric;
  exponent numeric := div(p - 5, 8);
BEGIN
  y := auth.stand_in_number(set_bit(key, 255, 0));
  u := (y * y - 1 + p) % p;
  v := (d * y % p * y + 1) % p;
  base := u * (v * v % p * v % p * v % p * v % p * v % p * v % p) % p;
  power := 1;
  WHILE exponent > 0 LOOP
    IF exponent % 2 = 1 THEN
      power := power * base % p;
    END IF;
    base := base * base % p;
    exponent := div(exponent, 2);
  END LOOP;
  x := u * (v * v % p * v % p) % p * power % p;
  IF v * x % p * x % p <> u THEN
    x := x * root % p;
  END IF;
  IF v * x % p * x % p <> u OR length(key) <> 32 OR y >= p THEN
    x := NULL;
  ELSIF x % 2 <> sign THEN
    x := p - x;
  END IF;
END $$;

-- Ed25519 (RFC 8032, 5.1.7): whether [s]B - [k]A is the point that the signature begins with. The sum of the two products
-- is made in one go, bit by bit, in extended coordinates.
CREATE FUNCTION auth.stand_in_verifies(x numeric, y numeric, message bytea, signature bytea) RETURNS bool
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p constant numeric := 2::numeric ^ 255 - 19;
  order_ constant numeric := 2::numeric ^ 252 + 27742317777372353535851937790883648493;
  d2 constant numeric := 2 * 37095705934669439343138083508754565189542113879843219016388785533085940283555::numeric;
  base_x constant numeric := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  base_y constant numeric := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  s numeric := auth.stand_in_number(substr(signature, 33));
  k numeric;
  key bytea := '';
  left_ numeric;
  -- The points B, -A and their sum, as y - x, y + x, 2dt and 2z.
  ym numeric[];
  yp numeric[];
  t2 numeric[];
  z2 numeric[];
  px numeric := 0;
  py numeric := 1;
  pz numeric := 1;
  pt numeric := 0;
  a numeric;
  b numeric;
  c numeric;
  e numeric;
  f numeric;
  g numeric;
  h numeric;
  n int;
  sbits int[];
  kbits int[];
BEGIN
  IF length(signature) <> 64 OR s >= order_ THEN
    RETURN false;
  END IF;
  left_ := y;
  FOR i IN 0 .. 31 LOOP
    key := key || set_byte('\x00', 0, (left_ % 256)::int);
    left_ := div(left_, 256);
  END LOOP;
  key := set_bit(key, 255, (x % 2)::int);
  k := auth.stand_in_number(sha512(substr(signature, 1, 32) || key || message)) % order_;
  FOR i IN 0 .. 252 LOOP
    sbits[i] := s % 2;
    kbits[i] := k % 2;
    s := div(s, 2);
    k := div(k, 2);
  END LOOP;

  x := p - x;
  ym := ARRAY[base_y - base_x, y - x];
  yp := ARRAY[base_y + base_x, y + x];
  t2 := ARRAY[d2 * base_x % p * base_y % p, d2 * x % p * y % p];
  z2 := ARRAY[2, 2];
  -- B plus -A.
  a := (base_y - base_x) * ym[2] % p; b := (base_y + base_x) * yp[2] % p; c := base_x * base_y % p * t2[2] % p;
  e := b - a; f := 2 - c; g := 2 + c; h := b + a;
  ym := ym || (g * h - e * f) % p;
  yp := yp || (g * h + e * f) % p;
  t2 := t2 || e * h % p * d2 % p;
  z2 := z2 || 2 * f * g % p;

  FOR i IN REVERSE 252 .. 0 LOOP
    a := px * px % p; b := py * py % p; c := 2 * pz * pz % p;
    h := a + b; e := h - (px + py) * (px + py) % p; g := a - b; f := c + g;
    px := e * f % p; py := g * h % p; pt := e * h % p; pz := f * g % p;
    n := sbits[i] + 2 * kbits[i];
    IF n > 0 THEN
      a := (py - px) * ym[n] % p; b := (py + px) * yp[n] % p; c := pt * t2[n] % p;
      e := pz * z2[n] % p;
      f := e - c; g := e + c; e := b - a; h := b + a;
      px := e * f % p; py := g * h % p; pt := e * h % p; pz := f * g % p;
    END IF;
  END LOOP;

  -- 1 / z, by Euclid's way.
  a := p; b := (pz + p) % p; c := 0; e := 1;
  WHILE b > 0 LOOP
    f := div(a, b);
    g := a - f * b; a := b; b := g;
    g := c - f * e; c := e; e := g;
  END LOOP;
  px := (px * c % p + p) % p;
  py := (py * c % p + p) % p;
  RETURN auth.stand_in_number(set_bit(substr(signature, 1, 32), 255, 0)) = py
     AND get_bit(signature, 255) = px % 2;
END $$;

CREATE FUNCTION auth.init() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  jwk text := current_setting('pg_session_jwt.jwk', true);
  point record;
BEGIN
  IF auth.stand_in_state() IS NOT NULL THEN
    RETURN;
  END IF;
  IF coalesce(jwk, '') = '' THEN
    RAISE EXCEPTION 'Missing runtime parameter: pg_session_jwt.jwk' USING ERRCODE = '02000';
  END IF;
  -- The startup packet is where the value comes from to which a reset returns, unless the role or the database has one.
  PERFORM set_config('pg_session_jwt.jwk', NULL, true);
  IF current_setting('pg_session_jwt.jwk', true) IS DISTINCT FROM jwk
     OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS entry WHERE entry LIKE 'pg_session_jwt.jwk=%')
  THEN
    RAISE EXCEPTION 'parameter "pg_session_jwt.jwk" cannot be set after connection start' USING ERRCODE = '55P02';
  END IF;
  IF jwk::jsonb ->> 'kty' = 'OKP' AND jwk::jsonb ->> 'crv' = 'Ed25519' THEN
    point := auth.stand_in_point(auth.stand_in_base64url(jwk::jsonb ->> 'x'));
  END IF;
  IF point.x IS NULL THEN
    RAISE EXCEPTION 'pg_session_jwt.jwk requires an Ed25519 JWK' USING ERRCODE = '42804';
  END IF;
  PERFORM auth.stand_in_keep(jsonb_build_object('x', point.x::text, 'y', point.y::text, 'jti', 0, 'token', NULL));
END $$;

-- The claims of the token that is set; NULL if none is.
CREATE FUNCTION auth.stand_in_claims() RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  token text := current_setting('pg_session_jwt.jwt', true);
  state jsonb := auth.stand_in_state();
  now_  numeric := date_part('epoch', clock_timestamp());
  parts text[] := string_to_array(token, '.');
  body  text;
  payload jsonb;
BEGIN
  IF state IS NULL AND coalesce(current_setting('pg_session_jwt.jwk', true), '') = '' THEN
    RETURN nullif(current_setting('request.jwt.claims', true), '');
  ELSIF coalesce(token, '') = '' THEN
    RETURN NULL;
  ELSIF state IS NULL THEN
    PERFORM auth.init();
    state := auth.stand_in_state();
  END IF;
  IF cardinality(parts) <> 3 THEN
    RAISE EXCEPTION 'invalid JWT encoding' USING ERRCODE = '42804';
  END IF;
  IF state ->> 'token' = token THEN
    RETURN convert_from(auth.stand_in_base64url(parts[2]), 'UTF8');
  END IF;

  body := parts[1] || '.' || parts[2];
  IF NOT auth.stand_in_verifies((state ->> 'x')::numeric, (state ->> 'y')::numeric,
                                convert_to(body, 'UTF8'), auth.stand_in_base64url(parts[3])) THEN
    RAISE EXCEPTION 'invalid JWT signature' USING ERRCODE = '23514';
  -- The extension does not look at this. It is what pgusher has to send.
  ELSIF parts[1] <> 'eyJhbGciOiJFZERTQSJ9' THEN
    RAISE EXCEPTION 'the header is not {"alg":"EdDSA"}' USING ERRCODE = '42804';
  END IF;
  payload := convert_from(auth.stand_in_base64url(parts[2]), 'UTF8');
  IF NOT coalesce(payload ->> 'jti' ~ '^[0-9]{1,18}$' AND jsonb_typeof(payload -> 'jti') = 'number', false) THEN
    RAISE EXCEPTION 'JWT payload must contain a valid ''jti'' (JWT ID)' USING ERRCODE = '42804';
  ELSIF (payload ->> 'jti')::bigint <= (state ->> 'jti')::bigint THEN
    RAISE EXCEPTION 'Token ID must be strictly monotonically increasing.' USING ERRCODE = '23514';
  ELSIF payload ->> 'nbf' !~ '^-?[0-9]+$' OR payload ->> 'exp' !~ '^-?[0-9]+$' THEN
    RAISE EXCEPTION 'times must be integers' USING ERRCODE = '42804';
  ELSIF (payload ->> 'nbf')::numeric > now_ + 60 THEN
    RAISE EXCEPTION 'Token used before it is ready' USING ERRCODE = '23514';
  ELSIF (payload ->> 'exp')::numeric + 60 < now_ THEN
    RAISE EXCEPTION 'Token used after it has expired' USING ERRCODE = '23514';
  END IF;
  PERFORM auth.stand_in_keep(state || jsonb_build_object('jti', payload -> 'jti', 'token', token));
  RETURN payload;
END $$;

CREATE FUNCTION auth.jwt_session_init(jwt text) RETURNS void LANGUAGE plpgsql VOLATILE STRICT AS $$
BEGIN
  PERFORM pg_catalog.set_config('pg_session_jwt.jwt', jwt, false);
  PERFORM auth.stand_in_claims();
END $$;

-- In PL/pgSQL, for the planner would inline SQL and see that what they call is volatile.
CREATE FUNCTION auth.session() RETURNS jsonb LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN coalesce(auth.stand_in_claims(), 'null');
END $$;

CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
BEGIN
  RETURN auth.session();
END $$;

CREATE FUNCTION auth.user_id() RETURNS text LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
  sub jsonb := auth.session() -> 'sub';
BEGIN
  IF pg_catalog.jsonb_typeof(sub) <> 'string' THEN
    RAISE EXCEPTION 'invalid subject claim in the JWT' USING ERRCODE = '42804';
  END IF;
  RETURN sub #>> '{}';
END $$;

CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE AS $$
DECLARE
  id text := auth.user_id();
BEGIN
  RETURN CASE WHEN id ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' THEN id::uuid END;
END $$;

-- As if by CREATE EXTENSION, which would want files in a directory of the installation.
SET LOCAL allow_system_table_mods = on;
INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
SELECT pg_catalog.pg_nextoid('pg_catalog.pg_extension', 'oid', 'pg_catalog.pg_extension_oid_index'), 'pg_session_jwt',
       CURRENT_USER::regrole, 'auth'::regnamespace, false, '0.5.0';
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.init();
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.jwt_session_init(text);
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.session();
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.jwt();
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.user_id();
ALTER EXTENSION pg_session_jwt ADD FUNCTION auth.uid();
