-- Functions of the server that clients may call: what one session can do to another of the same role, and what is a
-- superuser's unless somebody gave it away.
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
  VALUES ('function-ends-sessions', '{pg_terminate_backend,pg_cancel_backend}'::name[]),
         ('function-shows-statements', '{pg_stat_get_activity,pg_stat_get_backend_activity}'),
         ('function-makes-large-objects', '{lo_create,lo_creat,lo_from_bytea}'),
         ('function-of-files', '{pg_read_file,pg_read_binary_file,pg_ls_dir,pg_stat_file,pg_ls_logdir,pg_ls_waldir,
                                pg_ls_tmpdir,pg_ls_archive_statusdir,pg_ls_logicalsnapdir,pg_ls_logicalmapdir,
                                pg_ls_replslotdir,pg_ls_summariesdir,pg_current_logfile,lo_import,lo_export,
                                pg_hba_file_rules,pg_ident_file_mappings,pg_show_all_file_settings}'),
         ('function-of-administrators', '{pg_reload_conf,pg_rotate_logfile,pg_promote,pg_switch_wal,pg_backup_start,
                                pg_backup_stop,pg_start_backup,pg_stop_backup,pg_create_restore_point,
                                pg_wal_replay_pause,pg_wal_replay_resume,pg_log_backend_memory_contexts,
                                pg_replication_origin_advance,pg_replication_origin_create,pg_replication_origin_drop,
                                pg_stat_reset,pg_stat_reset_shared}')
),
callable AS (
  SELECT d.rule, p.oid::regprocedure AS name,
         (SELECT string_agg(g.name, ', ' ORDER BY g.oid)
            FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
            JOIN grantee g ON g.oid = a.grantee
           WHERE a.privilege_type = 'EXECUTE') AS grantees
    FROM dangerous d
    JOIN pg_proc p ON p.proname = ANY (d.names)
   WHERE p.pronamespace = 'pg_catalog'::regnamespace
)
SELECT rule, NULL AS level, format('function %s', name) AS subject, format('%s may call it', grantees) AS evidence,
       format('REVOKE EXECUTE ON FUNCTION %s FROM %s;', name, grantees) AS mend
  FROM callable
 WHERE grantees IS NOT NULL
 ORDER BY rule, subject
