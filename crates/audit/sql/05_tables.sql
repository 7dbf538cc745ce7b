-- What clients can reach that policies do not hold: tables without row security, relations that cannot have any, and
-- rights that pass it by. Partitions and children of a table with row security are told by 13.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
relation AS (
  SELECT c.oid, c.relkind, c.relowner, c.relrowsecurity, format('%I.%I', n.nspname, c.relname) AS name, n.oid AS schema,
         n.nspname || '.' || c.relname = ANY ($3) AS allowed, c.relacl,
         CASE c.relkind WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind,
         n.nspname = 'pg_catalog' AS of_system
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname !~ '^pg_(toast|temp_|toast_temp_)' AND n.nspname <> 'information_schema'
),
-- What somebody granted, less what initdb and extensions grant themselves (as PostGIS does on spatial_ref_sys).
granted AS (
  SELECT r.oid, x.grantee, x.privilege_type
    FROM relation r, aclexplode(r.relacl) x
   WHERE x.grantee <> r.relowner
  UNION
  SELECT r.oid, x.grantee, x.privilege_type
    FROM relation r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped,
         aclexplode(a.attacl) x
   WHERE x.grantee <> r.relowner
  EXCEPT
  SELECT i.objoid, x.grantee, x.privilege_type
    FROM pg_init_privs i, aclexplode(i.initprivs) x
   WHERE i.classoid = 'pg_class'::regclass
),
-- By whom a seat has a right.
holding AS (
  SELECT g.oid, s.rolname AS seat, g.privilege_type AS privilege,
         CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee
    FROM granted g
    JOIN seat s ON CASE g.grantee WHEN 0 THEN true ELSE pg_has_role(s.oid, g.grantee, 'USAGE') END
    JOIN relation r ON r.oid = g.oid
   WHERE has_schema_privilege(s.oid, r.schema, 'USAGE')
),
-- Rights that come without a grant: those of pg_read_all_data, of pg_write_all_data and of an owner.
implied AS (
  SELECT r.oid, s.rolname AS seat, p.privilege, NULL AS grantee
    FROM relation r, seat s, (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p(privilege)
   WHERE NOT r.of_system AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                            AND d.objid = r.oid AND d.deptype = 'e')
     AND has_schema_privilege(s.oid, r.schema, 'USAGE') AND has_table_privilege(s.oid, r.oid, p.privilege)
     AND NOT EXISTS (SELECT FROM holding h WHERE h.oid = r.oid AND h.seat = s.rolname AND h.privilege = p.privilege)
),
reach AS (
  SELECT * FROM holding UNION ALL SELECT * FROM implied
),
broken AS (
  SELECT r.oid, h.seat, h.privilege, h.grantee,
         CASE WHEN r.of_system THEN 'catalog-granted'
              WHEN h.privilege = 'TRUNCATE' THEN 'truncate-granted'
              WHEN h.privilege = 'TRIGGER' THEN 'trigger-granted'
              WHEN h.privilege = 'REFERENCES' THEN 'references-granted'
              WHEN h.privilege = 'MAINTAIN' THEN 'maintain-granted'
              WHEN r.allowed OR r.relkind = 'v' THEN NULL
              WHEN r.relkind = 'm' THEN 'materialized-view-readable'
              WHEN r.relkind = 'f' THEN 'foreign-table-reachable'
              WHEN NOT r.relrowsecurity THEN 'table-without-rls' END AS rule
    FROM relation r
    JOIN reach h ON h.oid = r.oid
   -- Row security of the parents is told with the children.
   WHERE NOT EXISTS (WITH RECURSIVE parent(oid) AS (
                       SELECT inhparent FROM pg_inherits WHERE inhrelid = r.oid
                       UNION
                       SELECT i.inhparent FROM pg_inherits i JOIN parent p ON p.oid = i.inhrelid)
                     SELECT FROM parent JOIN pg_class c ON c.oid = parent.oid WHERE c.relrowsecurity)
      OR h.privilege NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
),
told AS (
  SELECT b.oid, b.rule, b.seat, string_agg(DISTINCT b.privilege, ', ' ORDER BY b.privilege) AS privileges
    FROM broken b
   WHERE b.rule IS NOT NULL
   GROUP BY b.oid, b.rule, b.seat
)
SELECT t.rule, NULL AS level, format('%s %s', CASE r.relkind WHEN 'v' THEN 'view' ELSE r.kind END, r.name) AS subject,
       concat(string_agg(format('%I has %s', t.seat, t.privileges), '; ' ORDER BY t.seat), via.grantees) AS evidence,
       CASE t.rule
         WHEN 'table-without-rls' THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', r.name)
         ELSE via.revoke END AS mend
  FROM told t
  JOIN relation r ON r.oid = t.oid
  LEFT JOIN LATERAL (
    SELECT ', granted to ' || string_agg(DISTINCT b.grantee, ', ' ORDER BY b.grantee) AS grantees,
           format('REVOKE %s ON %s FROM %s;', string_agg(DISTINCT b.privilege, ', '), r.name,
                  string_agg(DISTINCT b.grantee, ', ')) AS revoke
      FROM broken b
     WHERE b.oid = t.oid AND b.rule = t.rule AND b.grantee IS NOT NULL
    HAVING count(*) > 0
  ) via ON true
 GROUP BY t.rule, r.relkind, r.kind, r.name, via.grantees, via.revoke
 ORDER BY subject, rule
