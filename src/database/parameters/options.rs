//! `options`: settings for the session, sent by SET after connecting, since PgBouncer refuses them at the start.

use super::error::Problem;

/// What `options` may set: what makes a migration faster, slower or more talkative. What decides whose rights it has,
/// what its names mean, how long it may wait or whether it may write is the spec's, and the engine's own bookkeeping
/// relies on it.
const ALLOWED: &[&str] = &[
    "bytea_output",
    "datestyle",
    "deadlock_timeout",
    "default_table_access_method",
    "default_tablespace",
    "default_toast_compression",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_partition_pruning",
    "extra_float_digits",
    "geqo",
    "hash_mem_multiplier",
    "intervalstyle",
    "jit",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "log_min_duration_statement",
    "log_statement",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "parallel_leader_participation",
    "random_page_cost",
    "seq_page_cost",
    "synchronous_commit",
    "temp_buffers",
    "timezone",
    "vacuum_buffer_usage_limit",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "wal_compression",
    "work_mem",
];

/// What belongs to a field of the spec.
const ELSEWHERE: &[(&str, &str)] = &[
    ("search_path", "spec.database.searchPath"),
    ("role", "spec.database.role"),
    ("session_authorization", "spec.database.role"),
    ("lock_timeout", "spec.policy.lockTimeout"),
    ("statement_timeout", "spec.policy.statementTimeout"),
];

/// A setting of the session. Its value is nobody's business: there is no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// A name out of the allow-list, or one with a dot; lower case.
    pub(crate) name: String,
    value: String,
}

impl Setting {
    /// The statement that makes it so.
    pub(crate) fn sql(&self) -> String {
        let name = self.name.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".");
        let quoted = self.value.replace('\'', "''");
        // A backslash in a plain literal depends on standard_conforming_strings, which a role may carry.
        if quoted.contains('\\') {
            format!("SET {name} TO E'{}';", quoted.replace('\\', "\\\\"))
        } else {
            format!("SET {name} TO '{quoted}';")
        }
    }
}

/// Reads `-c name=value`, `-cname=value` and `--name=value`, separated by blanks, a backslash escaping the next
/// character (PostgreSQL 18 manual, 32.1.2, and `pg_split_opts`).
pub(super) fn parse(text: &str) -> Result<Vec<Setting>, Problem> {
    let refuse = |why: String| Problem::parameter("options", why);
    let mut settings: Vec<Setting> = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let pair = if word == "-c" {
            words.next().unwrap_or_default()
        } else if let Some(pair) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            pair.to_owned()
        } else {
            return Err(refuse("only -c name=value is understood; remove the rest".to_owned()));
        };
        let Some((name, value)) = pair.split_once('=') else {
            return Err(refuse("a setting has no equals sign; write -c name=value".to_owned()));
        };
        let name = name.to_ascii_lowercase().replace('-', "_");
        if !is_name(&name) {
            return Err(refuse(
                "the name of a setting holds other characters than letters, digits, _ and .".to_owned(),
            ));
        }
        if let Some((_, field)) = ELSEWHERE.iter().find(|(known, _)| *known == name) {
            return Err(refuse(format!("{name} can't be set here; use {field}")));
        }
        // A name with a dot belongs to an extension or to the application.
        if !name.contains('.') && !ALLOWED.contains(&name.as_str()) {
            let name = super::table::shorten(&name);
            return Err(refuse(format!("{name} can't be set here; set it in the migration that needs it")));
        }
        settings.retain(|it| it.name != name);
        settings.push(Setting { name, value: value.to_owned() });
    }
    Ok(settings)
}

fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.split('.').all(|part| {
            part.starts_with(|it: char| it.is_ascii_lowercase() || it == '_')
                && part.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_')
        })
}

fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            it if it.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            it => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Result<String, Problem> {
        parse(text).map(|settings| settings.iter().map(Setting::sql).collect())
    }

    #[test]
    fn all_three_spellings_are_understood() {
        let spelled = sql(r"-c work_mem=64MB --maintenance-work-mem=1GB -cTimeZone=Europe/Vienna").unwrap();
        assert_eq!(
            spelled,
            r#"SET "work_mem" TO '64MB';SET "maintenance_work_mem" TO '1GB';SET "timezone" TO 'Europe/Vienna';"#
        );
    }

    #[test]
    fn a_value_can_not_leave_its_literal() {
        assert_eq!(sql(r"-c app.x=a\ b'c").unwrap(), r#"SET "app"."x" TO 'a b''c';"#);
        assert_eq!(sql(r"-c app.x=\\'").unwrap(), r#"SET "app"."x" TO E'\\''';"#);
    }

    #[test]
    fn what_the_spec_decides_is_refused_with_its_field() {
        let problem = sql("-c search_path=app").unwrap_err().to_string();
        assert!(problem.contains("spec.database.searchPath"), "{problem}");
        for text in ["-c default_transaction_read_only=on", "-c row_security=off", "-B 10", "-c x", "-c a\"b.c=1", "-c"]
        {
            assert!(sql(text).is_err(), "{text}");
        }
    }
}
