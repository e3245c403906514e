//! What a database's schemas hold, a line for each object and its definition: two that hold the same give the same lines.
//!
//! Nothing of it names an OID, a position or a moment; data and what extensions own are not in it. Definitions are the
//! server's own (`pg_get_…def`), so lines of two major versions may differ in their words.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::{error::SqlError, quote, session};

/// Reads the lines of all schemas but the system's and that of the history.
///
/// # Errors
/// What the server says.
pub async fn read(client: &Client, history_schema: &str) -> Result<BTreeSet<String>, SqlError> {
    let rows = session::query(client, &query(history_schema)).await?;
    Ok(rows.iter().filter_map(|row| row.get(0)).map(str::to_owned).collect())
}

#[allow(clippy::too_many_lines, reason = "a format is read whole")]
fn query(history_schema: &str) -> String {
    format!(
        r"
SET search_path = pg_catalog;
WITH schemas AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND nspname <> {history}
), owned AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
  SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name FROM pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace
  WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_class'::regclass AND objid = c.oid)
), types AS (
  SELECT t.*, format('%I.%I', s.nspname, t.typname) AS name FROM pg_type AS t JOIN schemas AS s ON s.oid = t.typnamespace
  WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_type'::regclass AND objid = t.oid)
), functions AS (
  SELECT f.*, format('%I.%I(%s)', s.nspname, f.proname, pg_get_function_identity_arguments(f.oid)) AS name
  FROM pg_proc AS f JOIN schemas AS s ON s.oid = f.pronamespace
  WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_proc'::regclass AND objid = f.oid)
), identified AS (
  SELECT d.description, (pg_identify_object(d.classoid, d.objoid, d.objsubid)).*
  FROM pg_description AS d WHERE d.objoid >= 16384
  AND NOT EXISTS (SELECT FROM owned WHERE classid = d.classoid AND objid = d.objoid)
)
SELECT concat_ws(' ', 'schema', quote_ident(nspname), 'owner', nspowner::regrole, nspacl) FROM schemas
UNION ALL SELECT concat_ws(' ', 'extension', quote_ident(extname), extversion, 'in', extnamespace::regnamespace) FROM pg_extension
UNION ALL SELECT concat_ws(' ', CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
    WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'composite type' ELSE relkind::text END,
    name, 'owner', relowner::regrole, CASE relpersistence WHEN 'u' THEN 'unlogged' END, pg_get_partkeydef(oid),
    pg_get_expr(relpartbound, oid), CASE WHEN relrowsecurity THEN 'row security' END,
    CASE WHEN relforcerowsecurity THEN 'forced' END, CASE WHEN relreplident <> 'd' THEN 'replica identity ' || relreplident::text END,
    reloptions, relacl, (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = r.oid),
    CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
  FROM relations AS r WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL SELECT concat_ws(' ', 'column', r.name || '.' || quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' END, CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity' END,
    CASE a.attgenerated WHEN '' THEN 'default' ELSE 'generated' END, pg_get_expr(d.adbin, d.adrelid),
    CASE WHEN a.attcollation <> t.typcollation THEN 'collate ' || a.attcollation::regcollation END,
    CASE WHEN a.attstorage <> t.typstorage THEN 'storage ' || a.attstorage::text END, a.attoptions, a.attacl)
  FROM relations AS r JOIN pg_attribute AS a ON a.attrelid = r.oid JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL SELECT concat_ws(' ', 'sequence', r.name, 'owner', r.relowner::regrole, s.seqtypid::regtype, 'start', s.seqstart,
    'increment', s.seqincrement, 'from', s.seqmin, 'to', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END, r.relacl,
    (SELECT 'owned by ' || d.refobjid::regclass::text || '.' || quote_ident(a.attname) FROM pg_depend AS d
     JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
     WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass LIMIT 1))
  FROM relations AS r JOIN pg_sequence AS s ON s.seqrelid = r.oid
UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'invalid' END,
    CASE WHEN i.indisclustered THEN 'clustered' END, CASE WHEN i.indisreplident THEN 'replica identity' END)
  FROM pg_index AS i JOIN relations AS r ON r.oid = i.indexrelid
UNION ALL SELECT concat_ws(' ', 'constraint', quote_ident(c.conname), 'on', r.name, pg_get_constraintdef(c.oid))
  FROM pg_constraint AS c JOIN relations AS r ON r.oid = c.conrelid
UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), 'enabled', t.tgenabled)
  FROM pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL SELECT concat_ws(' ', 'rule', pg_get_ruledef(u.oid), 'enabled', u.ev_enabled)
  FROM pg_rewrite AS u JOIN relations AS r ON r.oid = u.ev_class WHERE u.rulename <> '_RETURN'
UNION ALL SELECT concat_ws(' ', 'policy', quote_ident(p.polname), 'on', r.name, p.polcmd, CASE WHEN p.polpermissive THEN 'permissive' END,
    (SELECT string_agg(CASE role WHEN 0 THEN 'public' ELSE role::regrole::text END, ', ' ORDER BY role) FROM unnest(p.polroles) AS role),
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy AS p JOIN relations AS r ON r.oid = p.polrelid
UNION ALL SELECT concat_ws(' ', 'statistics', pg_get_statisticsobjdef(x.oid)) FROM pg_statistic_ext AS x JOIN schemas AS s ON s.oid = x.stxnamespace
UNION ALL SELECT concat_ws(' ', 'function', name, 'owner', proowner::regrole, proacl,
    CASE WHEN prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(oid) END,
    (SELECT concat_ws(' ', a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggsortop::regoperator, a.aggtranstype::regtype, a.agginitval)
     FROM pg_aggregate AS a WHERE a.aggfnoid = functions.oid))
  FROM functions
UNION ALL SELECT concat_ws(' ', 'type', name, 'owner', typowner::regrole, typtype, typacl,
    (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = types.oid),
    CASE WHEN typtype = 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'not null' END, typdefault,
      (SELECT string_agg(quote_ident(conname) || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname) FROM pg_constraint WHERE contypid = types.oid)) END,
    (SELECT concat_ws(' ', g.rngsubtype::regtype, g.rngsubopc, g.rngcanonical, g.rngsubdiff) FROM pg_range AS g WHERE g.rngtypid = types.oid))
  FROM types WHERE typtype IN ('e', 'd', 'r', 'b') AND typelem = 0
UNION ALL SELECT concat_ws(' ', 'collation', s.nspname, c.collname, c.collprovider, c.collcollate)
  FROM pg_collation AS c JOIN schemas AS s ON s.oid = c.collnamespace
  WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_collation'::regclass AND objid = c.oid)
UNION ALL SELECT concat_ws(' ', 'operator', o.oid::regoperator, o.oprcode) FROM pg_operator AS o JOIN schemas AS s ON s.oid = o.oprnamespace
  WHERE NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_operator'::regclass AND objid = o.oid)
UNION ALL SELECT concat_ws(' ', 'cast', castsource::regtype, castfunc::regprocedure, casttarget::regtype, castcontext) FROM pg_cast AS c
  WHERE c.oid >= 16384 AND NOT EXISTS (SELECT FROM owned WHERE classid = 'pg_cast'::regclass AND objid = c.oid)
UNION ALL SELECT concat_ws(' ', 'event trigger', quote_ident(evtname), evtevent, evtfoid::regprocedure, evtenabled, evttags) FROM pg_event_trigger
UNION ALL SELECT concat_ws(' ', 'publication', quote_ident(p.pubname), p.puballtables, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate,
    (SELECT string_agg(t.schemaname || '.' || t.tablename, ', ' ORDER BY 1) FROM pg_publication_tables AS t WHERE t.pubname = p.pubname))
  FROM pg_publication AS p
UNION ALL SELECT concat_ws(' ', 'foreign server', quote_ident(srvname), srvfdw, srvtype, srvversion, srvacl) FROM pg_foreign_server
UNION ALL SELECT concat_ws(' ', 'default privileges', defaclrole::regrole, CASE defaclnamespace WHEN 0 THEN '' ELSE defaclnamespace::regnamespace::text END,
    defaclobjtype, defaclacl) FROM pg_default_acl
UNION ALL SELECT concat_ws(' ', 'comment on', type, identity, quote_literal(description)) FROM identified
  WHERE schema IS DISTINCT FROM {history} AND identity IS NOT NULL;
RESET search_path",
        history = quote::literal(history_schema)
    )
}
