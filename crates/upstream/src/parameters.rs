//! What a client may set for its session in its startup packet.
//!
//! It is an allow-list: settings of a startup packet hold from a session's beginning on, in the transaction that sets its
//! identity, so one that Postgres adds tomorrow must not slip through. The list has settings that every role may change and
//! that cannot stop the session init. What is not on it is refused with its name, because a setting
//! that is dropped in silence is a wrong result later. A name with a dot can be an extension's, of which only the database
//! knows who may set it: if it refuses, the client gets to know its words.

use wire::startup::MAX_STARTUP_PACKET;

use crate::options::parse_options;

/// Settings that pass; a name that ends in `*` stands for all that begin so. In Postgres's spelling, in lower case.
const ALLOWED: &[&str] = &[
    // How values are written and read.
    "application_name",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_text_search_config",
    "default_toast_compression",
    "escape_string_warning",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "quote_all_identifiers",
    "search_path",
    "standard_conforming_strings",
    "timezone",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
    // Transactions and their limits.
    "default_transaction_*",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "synchronous_commit",
    "transaction_timeout",
    // The planner.
    "constraint_exclusion",
    "cpu_*_cost",
    "cursor_tuple_fraction",
    "default_statistics_target",
    "effective_cache_size",
    "effective_io_concurrency",
    "enable_*",
    "from_collapse_limit",
    "geqo*",
    "gin_fuzzy_search_limit",
    "hash_mem_multiplier",
    "jit",
    "jit_*_cost",
    "jit_expressions",
    "jit_tuple_deforming",
    "join_collapse_limit",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "min_parallel_*",
    "parallel_*_cost",
    "parallel_leader_participation",
    "plan_cache_mode",
    "random_page_cost",
    "recursive_worktable_factor",
    "seq_page_cost",
    "temp_buffers",
    "work_mem",
    // The connection.
    "client_connection_check_interval",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_user_timeout",
];

/// Names with a dot are an application's own, but for these prefixes: whoever sets them speaks as somebody.
const RESERVED_PREFIXES: &[&str] = &["auth", "pg_session_jwt", "pgusher", "request"];

/// The settings of a client's startup packet that reach the server. Holding one proves that each is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Takes the parameters of a startup packet. `user` and `database` are none of ours, `_pq_.` names belong to the
    /// protocol; `options` is taken apart. Of a name that comes twice the last counts, where those in `options` come
    /// before all others, as for Postgres (`process_startup_options` in `src/backend/utils/init/postinit.c`).
    ///
    /// # Errors
    /// [`ParameterError`] names what is refused.
    pub fn parse<'a>(startup: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ParameterError> {
        let (mut named, mut options) = (Vec::new(), "");
        for (name, value) in startup {
            match name {
                "user" | "database" => {}
                "options" => options = value,
                "replication" if is_false(value) => {}
                _ if name.starts_with("_pq_.") => {}
                _ => named.push((name, value)),
            }
        }
        let mut parameters = Self::default();
        for (name, value) in parse_options(options)? {
            parameters.set(&name, &value)?;
        }
        for (name, value) in named {
            parameters.set(name, value)?;
        }
        Ok(parameters)
    }

    /// Names and values, the names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of a setting, by its name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(set, _)| *set == name).map(|(_, value)| value)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ParameterError> {
        let name = name.to_ascii_lowercase();
        if name == "replication" {
            return Err(ParameterError::Replication);
        }
        if !is_allowed(&name) {
            return Err(ParameterError::NotAllowed(name));
        }
        if value.contains('\0') {
            return Err(ParameterError::ZeroByte(name));
        }
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.to_owned()));
        if self.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>() > MAX_STARTUP_PACKET as usize {
            return Err(ParameterError::TooLong);
        }
        Ok(())
    }
}

/// What Postgres takes for false: 0, or the beginning of a word as far as it is no other's (`parse_bool_with_len` in
/// `src/backend/utils/adt/bool.c`).
fn is_false(value: &str) -> bool {
    let begins = |word: &str| word.get(..value.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(value));
    value == "0" || (!value.is_empty() && (begins("false") || begins("no"))) || (value.len() > 1 && begins("off"))
}

fn is_allowed(name: &str) -> bool {
    match name.split_once('.') {
        Some((prefix, _)) => is_custom(name) && !RESERVED_PREFIXES.contains(&prefix),
        None => ALLOWED.iter().any(|pattern| matches(pattern, name)),
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((begin, end)) => name.strip_prefix(begin).is_some_and(|rest| rest.ends_with(end)),
    }
}

/// Postgres's rule for a name with dots: identifiers, at least two (`valid_custom_variable_name` in `guc.c`).
fn is_custom(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
    })
}

/// Why a client's startup parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not on the list.
    #[error("parameter \"{0}\" may not be set at connection start")]
    NotAllowed(String),
    /// A zero byte in a value.
    #[error("the value of parameter \"{0}\" holds a zero byte")]
    ZeroByte(String),
    /// A word of `options` that sets no parameter.
    #[error("unsupported word \"{0}\" in options; only -c name=value and --name=value are known")]
    Option(String),
    /// A replication connection, which no claims can hold in.
    #[error("replication connections are not supported")]
    Replication,
    /// All together are longer than a startup packet may be.
    #[error("the startup parameters are too long")]
    TooLong,
}

/// Parses arbitrary bytes as an `options` string: must not panic, and must let nothing through that is not allowed.
/// For the fuzzer.
pub fn fuzz_options(bytes: &[u8]) {
    let Ok(options) = std::str::from_utf8(bytes) else { return };
    if let Ok(parameters) = Parameters::parse([("options", options)]) {
        assert!(parameters.iter().all(|(name, _)| is_allowed(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Parameters, ParameterError> {
        Parameters::parse([("user", "authenticated"), (name, value)])
    }

    #[test]
    fn what_drivers_send_passes() {
        for name in ["application_name", "client_encoding", "DateStyle", "TimeZone", "extra_float_digits", "jit"] {
            assert!(parse(name, "x").is_ok(), "{name}");
            assert!(parse("options", &format!("-c {name}=x")).is_ok(), "{name}");
        }
        assert_eq!(
            parse("default_transaction_read_only", "on").unwrap().get("default_transaction_read_only"),
            Some("on")
        );
    }

    #[test]
    fn what_makes_an_identity_is_refused_however_it_is_spelt() {
        for name in [
            "role",
            "ROLE",
            "session_authorization",
            "is_superuser",
            "row_security",
            "local_preload_libraries",
            "session_preload_libraries",
            "session_replication_role",
            "request.jwt.claims",
            "Request.jwt.claims",
            "pg_session_jwt.jwk",
            "pgusher.claims",
            "auth.x",
            "log_parameter_max_length_on_error",
            "role ",
            "",
        ] {
            let refused = Err(ParameterError::NotAllowed(name.to_ascii_lowercase()));
            assert_eq!(parse(name, "x"), refused);
            if !name.ends_with(' ') && !name.is_empty() {
                assert_eq!(parse("options", &format!("--{name}=x")), refused);
                assert_eq!(parse("options", &format!("-c{}=x", name.replace('_', "-"))), refused);
            }
        }
    }

    #[test]
    fn an_applications_own_name_passes_if_postgres_takes_it() {
        assert!(parse("myapp.tenant", "1").is_ok() && parse("a.b.c", "1").is_ok());
        for name in ["myapp.", ".tenant", "my app.x", "myapp.1", "a..b"] {
            assert!(matches!(parse(name, "1"), Err(ParameterError::NotAllowed(_))), "{name}");
        }
    }

    #[test]
    fn the_last_value_of_a_name_counts_and_options_come_first() {
        let value = |startup: &[(&str, &str)]| {
            let parameters = Parameters::parse(startup.iter().copied()).unwrap();
            assert_eq!(parameters.iter().count(), 1, "{startup:?}");
            parameters.get("timezone").map(str::to_owned)
        };
        for startup in [
            &[("TimeZone", "UTC"), ("options", "-c timezone=CET")][..],
            &[("options", "-c timezone=CET --TimeZone=GMT"), ("timezone", "UTC")],
            &[("options", "-c timezone=CET --TimeZone=UTC")],
            &[("TimeZone", "CET"), ("timezone", "UTC")],
            &[("options", "-c jit=on"), ("options", "-c timezone=UTC")],
        ] {
            assert_eq!(value(startup).as_deref(), Some("UTC"), "{startup:?}");
        }
        let refused = Err(ParameterError::NotAllowed("role".to_owned()));
        assert_eq!(Parameters::parse([("role", "x"), ("TimeZone", "UTC"), ("timezone", "UTC")]), refused);
        assert_eq!(Parameters::parse([("options", "-c role=x -c timezone=UTC"), ("timezone", "UTC")]), refused);
    }

    #[test]
    fn replication_is_a_refusal_of_its_own() {
        for value in ["true", "on", "1", "database", "o", "", "00", "falsehood", "nö"] {
            assert_eq!(parse("replication", value), Err(ParameterError::Replication), "{value}");
        }
        for value in ["false", "F", "off", "of", "NO", "n", "0"] {
            assert_eq!(parse("replication", value), Ok(Parameters::default()), "{value}");
        }
        assert_eq!(parse("options", "-c replication=1"), Err(ParameterError::Replication));
    }

    #[test]
    fn together_they_fit_a_startup_packet() {
        assert_eq!(parse("search_path", &"x".repeat(10_000)), Err(ParameterError::TooLong));
        assert!(parse("search_path", &"x".repeat(9_000)).is_ok());
    }

    #[test]
    fn user_database_and_protocol_options_are_none_of_ours() {
        let parameters = Parameters::parse([("user", "u"), ("database", "d"), ("_pq_.x", "1")]).unwrap();
        assert_eq!(parameters, Parameters::default());
    }
}
