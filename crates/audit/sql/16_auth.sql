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
-- SHA-256 over all that a function or a domain is, in a form that is the same on PostgreSQL 14 to 18. A test installs the
-- schema and finds these; what it finds instead after a change stands in the evidence.
shipped(kind, name, hash) AS (
  VALUES ('function', 'auth.mac_matches(text,text,text)', '5e82a5369a94dec66e5a404945bb253a7abc8abe1d88159649491a14a888dd4a'),
         ('function', 'auth.has_expired(text)', '3b8cd40d42eba54d19bc1733b5fae792a59bec9e3e73887acffcd35423eafcc7'),
         ('function', 'auth.refused(text)', '141f0097c7db0de29fd4605192cf8f33dfb306e1b34601ede2b4c52716b36280'),
         ('domain', 'auth.signed', '998c8a71ea11b7e23c23501c697a6115e2685fff3d56f5938f816b94d862f058'),
         ('domain', 'auth.genuine', '8806ec071eaa76662b5707b1efb3363b55578c150520c418930369810a1e3f03'),
         ('domain', 'auth.proven', 'f5f786b07fb510533ad235983dac97277e53df1db2313cc8aa134347a8ac48f2'),
         ('function', 'auth.session()', 'd3186b643c79ee0d8839531e54754d356550aae60abee749283e1e611fad6d68'),
         ('function', 'auth.jwt()', '5356bcc295871b5da64a76764977f0fa79483ff3cf9eeae0b70f88e9523f8947'),
         ('function', 'auth.user_id()', '41f21a4c803613bf9d4acb4003b8b1afc501e673909fe43f55229700b4a70ccc'),
         ('function', 'auth.uid()', '1e3c4a1dd97ac27950e6314b9601a2e8436f5a2521cee6e37a8c329ed3684b83'),
         ('function', 'auth.pgusher_init(text,text)', 'e8802b917ad8cb3f8b2932f2d088e988031c67152b838e3c6b60747ee137995f')
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
domain AS (
  SELECT t.oid::regtype::text AS name, t.typowner, t.typacl,
         encode(sha256(convert_to(concat_ws(E'\n', t.typbasetype::regtype, t.typtypmod, t.typnotnull, t.typdefault,
           (SELECT string_agg(concat_ws(' ', c.convalidated, pg_get_constraintdef(c.oid)), E'\n' ORDER BY c.conname)
              FROM pg_constraint c WHERE c.contypid = t.oid)), 'UTF8')), 'hex') AS hash
    FROM pg_type t
   WHERE t.typnamespace = (SELECT oid FROM found) AND t.typtype = 'd'
),
source(kind, name, hash) AS (
  SELECT 'function', name, hash FROM function
  UNION ALL
  SELECT 'domain', name, hash FROM domain
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
  SELECT format('domain %s', d.name), format('DOMAIN %s', d.name), d.typowner
    FROM domain d JOIN shipped s ON s.name = d.name, ours
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
   WHERE f.name ~ '^auth\.(mac_matches|has_expired|refused)[(]' AND a.grantee <> f.proowner
         OR f.name LIKE 'auth.pgusher_init%' AND a.grantee = 0
  UNION ALL
  SELECT 'warning', format('domain %s', d.name), format('DOMAIN %s', d.name), a.privilege_type, a.grantee
    FROM ours, domain d CROSS JOIN LATERAL aclexplode(coalesce(d.typacl, acldefault('T', d.typowner))) a
   WHERE d.name IN (SELECT name FROM shipped) AND a.grantee <> d.typowner
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
SELECT 'auth-source', NULL, format('%s %s', s.kind, s.name),
       CASE WHEN source.hash IS NULL THEN 'there is none' ELSE format('its hash is %s', source.hash) END, NULL
  FROM ours, shipped s
  LEFT JOIN source USING (kind, name)
 WHERE source.hash IS DISTINCT FROM s.hash
UNION ALL
SELECT 'auth-stranger', NULL, subject, 'it is no part of the schema', mend
  FROM stranger
 ORDER BY subject, rule, evidence
