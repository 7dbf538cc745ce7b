-- The schema auth, which every policy trusts: that it is ours and as it was shipped, or an extension's and nothing else.
WITH found AS (
  SELECT n.oid, n.nspowner, n.nspacl,
         EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'pgusher_init') AS is_ours,
         EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_session_jwt') AS is_extension
    FROM pg_namespace n
   WHERE n.nspname = 'auth'
),
ours AS (
  SELECT * FROM found WHERE is_ours AND NOT is_extension
),
-- SHA-256 over all that a function is, in a form that is the same on PostgreSQL 14 to 18. A test installs the schema and
-- finds these; what it finds instead after a change stands in the evidence.
shipped(name, hash) AS (
  VALUES ('auth.mac_matches(bytea,bytea,text,text)', '3a57701fd62dd882dfa39be70813c7f7d66e58f41b178d96cf5504b688d2f66c'),
         ('auth.session()', 'f2d173e126feac8978c16ca32aba937be0f0f1d6348fe05ca88e1325c38de901'),
         ('auth.jwt()', '5356bcc295871b5da64a76764977f0fa79483ff3cf9eeae0b70f88e9523f8947'),
         ('auth.user_id()', '41f21a4c803613bf9d4acb4003b8b1afc501e673909fe43f55229700b4a70ccc'),
         ('auth.uid()', '1e3c4a1dd97ac27950e6314b9601a2e8436f5a2521cee6e37a8c329ed3684b83'),
         ('auth.pgusher_init(text,text)', 'c372d343d1ba1fc957c4a6fd265e03218ceb9895730b50ca9acda22598f1886c')
),
function AS (
  SELECT p.oid, p.oid::regprocedure::text AS name, p.proowner, p.proacl, p.prorettype,
         encode(sha256(convert_to(concat_ws(E'\n',
           pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname, p.provolatile, p.proparallel,
           p.prosecdef, p.proisstrict, p.proleakproof, p.prokind, p.proconfig::text, p.prosrc,
           pg_get_function_sqlbody(p.oid)), 'UTF8')), 'hex') AS hash,
         EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') AS is_extension
    FROM pg_proc p
    JOIN pg_language l ON l.oid = p.prolang
   WHERE p.pronamespace = (SELECT oid FROM found)
),
relation AS (
  SELECT c.oid, c.relname, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.oid::regclass AS name,
         CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind,
         EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') AS is_extension
    FROM pg_class c
   WHERE c.relnamespace = (SELECT oid FROM found) AND c.relkind NOT IN ('i', 'I', 'c')
),
owned(subject, altered, owner) AS (
  SELECT 'schema auth', 'SCHEMA auth', nspowner FROM ours
  UNION ALL
  SELECT format('function %s', f.name), format('FUNCTION %s', f.name), f.proowner
    FROM function f JOIN shipped s ON s.name = f.name, ours
  UNION ALL
  SELECT format('%s %s', r.kind, r.name), format('%s %s', upper(r.kind), r.name), r.relowner
    FROM relation r, ours WHERE r.relname IN ('keys', 'epoch')
),
-- Everybody may use the schema and call its readers, and served roles what starts a session. That is all.
given(level, subject, object, privilege, grantee) AS (
  SELECT NULL, 'schema auth', 'SCHEMA auth', a.privilege_type, a.grantee
    FROM found CROSS JOIN LATERAL aclexplode(nspacl) a
   WHERE a.grantee <> nspowner AND a.privilege_type <> 'USAGE'
  UNION ALL
  SELECT NULL, format('%s %s', r.kind, r.name), format('%s %s', upper(r.kind), r.name), a.privilege_type, a.grantee
    FROM ours, relation r CROSS JOIN LATERAL aclexplode(r.relacl) a
   WHERE r.relname IN ('keys', 'epoch') AND a.grantee <> r.relowner
  UNION ALL
  SELECT NULL, format('table %s', r.name), format('TABLE %s', r.name),
         format('%s (%I)', a.privilege_type, c.attname), a.grantee
    FROM ours, relation r
    JOIN pg_attribute c ON c.attrelid = r.oid
    CROSS JOIN LATERAL aclexplode(c.attacl) a
   WHERE r.relname = 'keys' AND a.grantee <> r.relowner
  UNION ALL
  SELECT CASE WHEN f.name LIKE 'auth.pgusher_init%' THEN 'warning' END, format('function %s', f.name),
         format('FUNCTION %s', f.name), a.privilege_type, a.grantee
    FROM ours, function f CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
   WHERE f.name LIKE 'auth.mac_matches%' AND a.grantee <> f.proowner
         OR f.name LIKE 'auth.pgusher_init%' AND a.grantee = 0
),
-- What keeps a key from those who pass every grant, from the statistics, and from other servers.
exposed(evidence, mend) AS (
  SELECT 'it has no row security', 'ALTER TABLE auth.keys ENABLE ROW LEVEL SECURITY;'
    FROM ours, relation WHERE relname = 'keys' AND NOT relrowsecurity
  UNION ALL
  SELECT format('the policy %I shows it', p.polname), format('DROP POLICY %I ON auth.keys;', p.polname)
    FROM ours, relation r JOIN pg_policy p ON p.polrelid = r.oid
   WHERE r.relname = 'keys'
  UNION ALL
  SELECT format('the trigger %I is told of it', t.tgname), format('DROP TRIGGER %I ON auth.keys;', t.tgname)
    FROM ours, relation r JOIN pg_trigger t ON t.tgrelid = r.oid
   WHERE r.relname = 'keys' AND NOT t.tgisinternal
  UNION ALL
  SELECT format('the column %I may go into statistics', a.attname),
         format('ALTER TABLE auth.keys ALTER %I SET STATISTICS 0;', a.attname)
    FROM ours, relation r JOIN pg_attribute a ON a.attrelid = r.oid
   WHERE r.relname = 'keys' AND a.attname IN ('ipad', 'opad') AND to_jsonb(a) ->> 'attstattarget' IS DISTINCT FROM '0'
  UNION ALL
  SELECT format('the publication %I sends it to other servers', t.pubname),
         (SELECT format('ALTER PUBLICATION %I DROP TABLE auth.keys;', p.pubname)
            FROM pg_publication p
            JOIN pg_publication_rel x ON x.prpubid = p.oid
            JOIN relation r ON r.oid = x.prrelid AND r.relname = 'keys'
           WHERE p.pubname = t.pubname)
    FROM ours, pg_publication_tables t
   WHERE t.schemaname = 'auth' AND t.tablename = 'keys'
),
-- Policies name the readers by schema and name: whatever else is there can be meant in their place.
stranger(subject, mend) AS (
  SELECT format('function %s', f.name), format('DROP ROUTINE %s;', f.name)
    FROM function f, found
   WHERE CASE WHEN found.is_extension THEN NOT f.is_extension
              ELSE found.is_ours AND f.name NOT IN (SELECT name FROM shipped) END
     -- The setup's event trigger, which SQL cannot call.
     AND NOT (f.name = 'auth.pgusher_guard()' AND f.prorettype = 'event_trigger'::regtype)
  UNION ALL
  SELECT format('relation %s', r.name), format('ALTER TABLE %s SET SCHEMA public;', r.name)
    FROM relation r, found
   WHERE CASE WHEN found.is_extension THEN NOT r.is_extension
              ELSE found.is_ours AND r.relname NOT IN ('keys', 'epoch') END
  UNION ALL
  SELECT format('operator %s', o.oid::regoperator), format('DROP OPERATOR %s;', o.oid::regoperator)
    FROM pg_operator o, found
   WHERE o.oprnamespace = found.oid AND (found.is_ours OR found.is_extension)
     AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')
)
SELECT 'auth-missing' AS rule, NULL AS level, 'schema auth' AS subject,
       coalesce((SELECT format('it belongs to %I and has no auth.pgusher_init()', pg_get_userbyid(nspowner)) FROM found),
                'there is none') AS evidence, NULL AS mend
 WHERE $4 AND NOT EXISTS (SELECT FROM found WHERE is_ours OR is_extension)
UNION ALL
SELECT 'auth-owner', NULL, subject, format('it belongs to %I', pg_get_userbyid(owner)),
       format('ALTER %s OWNER TO pgusher_auth;', altered)
  FROM owned
 WHERE pg_get_userbyid(owner) <> 'pgusher_auth'
UNION ALL
SELECT 'auth-grant', level, subject, format('%s has %s', g.name, privilege),
       format('REVOKE %s ON %s FROM %s;', privilege, object, g.name)
  FROM given
  CROSS JOIN LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) AS g(name)
UNION ALL
SELECT 'auth-keys-exposed', NULL, 'table auth.keys', evidence, mend
  FROM exposed
UNION ALL
-- No SQL but that of the setup brings back what was shipped.
SELECT 'auth-source', NULL, format('function %s', s.name),
       CASE WHEN f.oid IS NULL THEN 'there is none' ELSE format('its hash is %s', f.hash) END, NULL
  FROM ours, shipped s
  LEFT JOIN function f ON f.name = s.name
 WHERE f.hash IS DISTINCT FROM s.hash
UNION ALL
SELECT 'auth-stranger', NULL, subject, 'it is no part of the schema', mend
  FROM stranger
 ORDER BY subject, rule, evidence
