-- Extensions, foreign servers and languages that give clients a way around the policies or out of the database.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
grantee(oid, name) AS (
  SELECT DISTINCT r.oid, quote_ident(r.rolname)
    FROM seat
    JOIN pg_roles r ON pg_has_role(seat.oid, r.oid, 'USAGE')
   -- A predefined role comes with its rights: what is wrong there is the membership.
   WHERE r.rolname NOT LIKE 'pg\_%'
  UNION ALL
  SELECT 0, 'PUBLIC'
),
dangerous(rule, names) AS (
  -- Other connections, other programs, later times: none of them has the identity of the session.
  VALUES ('extension-reaches-out', '{dblink,pg_background,pg_cron,plproxy,http,pg_net,pg_curl,amqp,aws_s3,aws_lambda,
                                     azure_storage}'::name[]),
         -- Files, the log of all changes, and pages, which no policy is about.
         ('extension-reads-below', '{adminpack,pg_walinspect,pg_surgery}'),
         ('extension-shows-statements', '{pg_stat_statements,pg_stat_monitor,pg_qualstats,pg_stat_kcache}')
),
callable AS (
  SELECT d.rule, e.extname, p.oid::regprocedure AS name,
         (SELECT string_agg(g.name, ', ' ORDER BY g.oid)
            FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            JOIN grantee g ON g.oid = a.grantee
           WHERE a.privilege_type = 'EXECUTE') AS grantees
    FROM dangerous d
    JOIN pg_extension e ON e.extname = ANY (d.names)
    JOIN pg_depend x ON x.refclassid = 'pg_extension'::regclass AND x.refobjid = e.oid
                        AND x.classid = 'pg_proc'::regclass AND x.deptype = 'e'
    JOIN pg_proc p ON p.oid = x.objid
   -- The handlers of a language or of a foreign data wrapper, and triggers, cannot be called.
   WHERE p.prorettype <> ALL ('{language_handler,fdw_handler,trigger,event_trigger}'::regtype[])
     AND NOT EXISTS (SELECT FROM pg_foreign_data_wrapper w WHERE w.fdwvalidator = p.oid)
     AND EXISTS (SELECT FROM seat r WHERE has_schema_privilege(r.oid, p.pronamespace, 'USAGE'))
)
SELECT rule, NULL AS level, format('extension %I', extname) AS subject,
       format('clients may call %s%s', min(first), ' and ' || nullif(sum(number) - 1, 0) || ' more') AS evidence,
       string_agg(format('REVOKE EXECUTE ON FUNCTION %s FROM %s;', functions, grantees), ' ' ORDER BY functions) AS mend
  FROM (SELECT rule, extname, grantees, string_agg(name::text, ', ' ORDER BY name::text) AS functions,
               min(name::text) AS first, count(*) AS number
          FROM callable
         WHERE grantees IS NOT NULL
         GROUP BY rule, extname, grantees) AS c
 GROUP BY rule, extname
UNION ALL
SELECT 'foreign-server-usable', NULL, format('foreign server %I', s.srvname),
       format('%s may use it, with a user mapping of their own too', g.name),
       format('REVOKE USAGE ON FOREIGN SERVER %I FROM %s;', s.srvname, g.name)
  FROM pg_foreign_server s
  CROSS JOIN LATERAL aclexplode(s.srvacl) a
  JOIN grantee g ON g.oid = a.grantee
 WHERE a.privilege_type = 'USAGE'
UNION ALL
SELECT 'foreign-server-usable', NULL, format('foreign data wrapper %I', w.fdwname),
       format('%s may make servers with it', g.name),
       format('REVOKE USAGE ON FOREIGN DATA WRAPPER %I FROM %s;', w.fdwname, g.name)
  FROM pg_foreign_data_wrapper w
  CROSS JOIN LATERAL aclexplode(w.fdwacl) a
  JOIN grantee g ON g.oid = a.grantee
 WHERE a.privilege_type = 'USAGE'
UNION ALL
-- Its functions do what the server's operating system lets them.
SELECT 'language-untrusted', NULL, format('function %s', p.oid::regprocedure),
       format('%s may call it; it is written in %I, which is not held to what SQL may do',
              string_agg(g.name, ', ' ORDER BY g.oid), l.lanname),
       format('REVOKE EXECUTE ON ROUTINE %s FROM %s;', p.oid::regprocedure, string_agg(g.name, ', ' ORDER BY g.oid))
  FROM pg_language l
  JOIN pg_proc p ON p.prolang = l.oid
  CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  JOIN grantee g ON g.oid = a.grantee
 WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c') AND a.privilege_type = 'EXECUTE'
   AND p.prorettype <> ALL ('{trigger,event_trigger}'::regtype[])
   AND EXISTS (SELECT FROM seat r WHERE has_schema_privilege(r.oid, p.pronamespace, 'USAGE'))
 GROUP BY p.oid, l.lanname
UNION ALL
SELECT 'language-usable', NULL, format('language %I', l.lanname),
       format('%s may use it, for functions of their own and DO', string_agg(g.name, ', ' ORDER BY g.oid)),
       format('REVOKE USAGE ON LANGUAGE %I FROM %s;', l.lanname, string_agg(g.name, ', ' ORDER BY g.oid))
  FROM pg_language l
  CROSS JOIN LATERAL aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) a
  JOIN grantee g ON g.oid = a.grantee
 WHERE l.lanpltrusted
 GROUP BY l.lanname
 ORDER BY rule, subject
