-- What a client's roles own, themselves or by the rights that they inherit. The owner of a table is not held by its
-- policies, and can drop them.
WITH seat AS (
  SELECT oid, rolname FROM pg_roles WHERE rolname = ANY ($5)
),
-- Seats and whatever they have the rights of.
holder AS (
  SELECT o.oid, o.rolname, string_agg(DISTINCT quote_ident(s.rolname), ', ' ORDER BY quote_ident(s.rolname))
                             FILTER (WHERE s.oid <> o.oid) AS heirs
    FROM pg_roles o
    JOIN seat s ON s.oid = o.oid OR pg_has_role(s.oid, o.oid, 'USAGE')
   GROUP BY o.oid, o.rolname
),
owned AS (
  SELECT h.oid, h.rolname, h.heirs, d.dbid, d.classid, i.type,
         CASE WHEN d.dbid IN (0, here.oid) THEN concat_ws(' ', i.type, i.identity) END AS name
    FROM pg_database here
    JOIN pg_shdepend d ON true
    JOIN holder h ON h.oid = d.refobjid
    LEFT JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i ON d.dbid IN (0, here.oid)
   WHERE here.datname = current_database() AND d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
     -- Temporary objects, which every client may have while it is there.
     AND coalesce(i.schema, '') !~ '^pg_(toast_)?temp'
     -- Dropped since.
     AND (i.type IS NOT NULL OR d.dbid NOT IN (0, here.oid))
),
counted AS (
  SELECT oid, rolname, heirs, dbid, type = 'large object' AS large, count(*) AS count,
         (array_agg(name ORDER BY name))[:5] AS names
    FROM owned
   GROUP BY oid, rolname, heirs, dbid, type = 'large object'
)
SELECT CASE WHEN large THEN 'large-objects-owned'
            WHEN rolname = ANY ($1) OR rolname = ANY ($2) THEN 'client-owns'
            ELSE 'owner-reached' END AS rule,
       NULL AS level,
       format('role %I', rolname) AS subject,
       concat(CASE WHEN dbid = 0 THEN 'it owns for the whole cluster: ' ELSE 'it owns: ' END,
              array_to_string(names, ', '), CASE WHEN count > 5 THEN format(' and %s more', count - 5) END,
              '; its rights are had by ' || heirs) AS evidence,
       CASE WHEN (rolname = ANY ($1) OR rolname = ANY ($2)) AND NOT large THEN
         -- The owner of the database, unless that is what is wrong.
         format('REASSIGN OWNED BY %I TO %s;', rolname,
                CASE WHEN d.datdba IN (SELECT oid FROM seat) THEN 'CURRENT_USER'
                     ELSE quote_ident(pg_get_userbyid(d.datdba)) END) END AS mend
  FROM counted, pg_database d
 WHERE dbid IN (0, d.oid) AND d.datname = current_database()
UNION ALL
-- Objects of other databases are numbers from here, and may be temporary.
SELECT CASE WHEN rolname = ANY ($1) OR rolname = ANY ($2) THEN 'client-owns' ELSE 'owner-reached' END, 'warning',
       format('role %I', rolname),
       concat(format('it owns %s objects in database %I; see there', sum(count), d.datname),
              '; its rights are had by ' || heirs),
       NULL
  FROM counted
  JOIN pg_database d ON d.oid = counted.dbid
 WHERE d.datname <> current_database()
 GROUP BY rolname, heirs, d.datname
 ORDER BY subject, rule, evidence
