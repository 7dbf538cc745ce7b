-- Partitions and children of a table with row security that clients reach past it. A query that names the child is held
-- by the child's own row security only.
WITH RECURSIVE seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
ancestor(child, oid) AS (
  SELECT inhrelid, inhparent FROM pg_inherits
  UNION
  SELECT a.child, i.inhparent FROM ancestor a JOIN pg_inherits i ON i.inhrelid = a.oid
),
exposed AS (
  SELECT c.oid, c.relkind, c.relacl, c.relowner, format('%I.%I', n.nspname, c.relname) AS name,
         (SELECT string_agg(format('%I.%I', pn.nspname, p.relname), ', ' ORDER BY p.oid)
            FROM ancestor a JOIN pg_class p ON p.oid = a.oid JOIN pg_namespace pn ON pn.oid = p.relnamespace
           WHERE a.child = c.oid AND p.relrowsecurity) AS parents,
         (SELECT string_agg(format('%I has %s', s.rolname, h.privileges), '; ' ORDER BY s.rolname)
            FROM seat s, LATERAL (
              SELECT string_agg(p.privilege, ', ') AS privileges
                FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p(privilege)
               WHERE has_table_privilege(s.oid, c.oid, p.privilege)
                  OR CASE p.privilege WHEN 'DELETE' THEN false
                          ELSE has_any_column_privilege(s.oid, c.oid, p.privilege) END
            ) h
           WHERE h.privileges IS NOT NULL AND has_schema_privilege(s.oid, n.oid, 'USAGE')) AS rights
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relrowsecurity AND n.nspname !~ '^pg_temp_'
     AND c.oid IN (SELECT child FROM ancestor)
     AND coalesce(n.nspname || '.' || c.relname <> ALL ($3), true)
)
SELECT 'child-without-rls' AS rule, NULL AS level,
       format('%s %s', CASE e.relkind WHEN 'f' THEN 'foreign table' ELSE 'table' END, e.name) AS subject,
       format('%s has row security and this part of it has not; %s', e.parents, e.rights) AS evidence,
       -- The parent's policies go on to hold for queries of the parent, whatever the child has.
       CASE e.relkind WHEN 'f' THEN g.revoke ELSE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', e.name) END AS mend
  FROM exposed e
  LEFT JOIN LATERAL (
    SELECT format('REVOKE ALL ON %s FROM %s;', e.name, string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC'
                  ELSE quote_ident(pg_get_userbyid(x.grantee)) END, ', ')) AS revoke
      FROM aclexplode(e.relacl) x
     WHERE x.grantee <> e.relowner AND (x.grantee = 0 OR EXISTS (SELECT FROM seat s
                                                                  WHERE pg_has_role(s.oid, x.grantee, 'USAGE')))
    HAVING count(*) > 0
  ) g ON true
 WHERE e.parents IS NOT NULL AND e.rights IS NOT NULL
 ORDER BY subject
