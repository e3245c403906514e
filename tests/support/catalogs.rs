//! What there is in a database, for whoever shows that nothing was left.

/// Every object and its definition, every setting and every advisory lock, and no data, as one text.
pub const CATALOGS: &str = "SELECT string_agg(x, E'\\n' ORDER BY x) FROM ( \
             SELECT concat_ws(' ', 'schema', nspname, nspowner) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' \
             UNION ALL SELECT concat_ws(' ', 'relation', oid, relname, relkind, relowner, relfilenode) FROM pg_class \
               WHERE relnamespace >= 16384 OR relnamespace = 2200 \
             UNION ALL SELECT concat_ws(' ', 'function', oid, proname, proowner) FROM pg_proc \
             UNION ALL SELECT concat_ws(' ', 'type', oid, typname) FROM pg_type \
             UNION ALL SELECT concat_ws(' ', 'constraint', oid, conname) FROM pg_constraint \
             UNION ALL SELECT concat_ws(' ', 'comment', objoid, description) FROM pg_description WHERE objoid >= 16384 \
             UNION ALL SELECT concat_ws(' ', 'setting', setdatabase, setconfig) FROM pg_db_role_setting \
               WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             UNION ALL SELECT concat_ws(' ', 'lock', classid, objid) FROM pg_locks WHERE locktype = 'advisory' \
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS it(x)";
