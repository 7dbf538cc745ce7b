-- The server's version, its room for connections, its prepared transactions, and the databases that the logins ($1) may
-- connect to. Connections of pg_use_reserved_connections are reserved from 16 on.
SELECT current_setting('server_version_num')::int4,
       current_setting('max_connections')::int4 - current_setting('superuser_reserved_connections')::int4
         - coalesce(current_setting('reserved_connections', true)::int4, 0),
       current_setting('max_prepared_transactions')::int4,
       (SELECT count(*)::int4
          FROM pg_catalog.pg_database d
         WHERE d.datallowconn
           AND EXISTS (SELECT FROM pg_catalog.pg_roles r
                        WHERE r.rolname = ANY ($1::text[]) AND pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT')))
