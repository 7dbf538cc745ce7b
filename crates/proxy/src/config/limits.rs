//! The tables of plain numbers and switches: `[session]`, `[runtime]` and `[log]`.

use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::section::Section;

pub(super) const ZERO: Duration = Duration::ZERO;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Waiting times that must end some time, and not at once.
pub(super) const WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;

/// `[session]`: from the login to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// How many clients may be logging in at once.
    pub max_logins: usize,
    /// How long a client may take from its first byte until it is in.
    pub client_login_timeout: Duration,
    /// Whether a client is told which rule refused its token.
    pub auth_error_detail: bool,
    /// How long a transaction may go on after its session's token has expired.
    pub expiry_grace: Duration,
    /// How long sessions may go on after a request to shut down.
    pub shutdown_grace: Duration,
}

/// `[runtime]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// How many threads relay; half as many as there are CPUs, unless configured. One thread wakes up for more than one
    /// connection at a time when there is much to do, and a thread too many costs a fifth more per statement.
    pub worker_threads: usize,
    /// How many more serve HTTP, where that is listened for.
    pub http_threads: usize,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important level that is written.
    pub level: LevelFilter,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON else.
    Auto,
    /// For people.
    Text,
    /// For machines: one object per line.
    Json,
}

pub(super) fn read_session(mut section: Section<'_>) -> Session {
    let session = Session {
        max_logins: section.number("max_logins", 1_000, 1..=100_000),
        client_login_timeout: section.duration("client_login_timeout", SECOND * 15, WAIT),
        auth_error_detail: section.flag("auth_error_detail", true),
        expiry_grace: section.duration("expiry_grace", SECOND * 30, ZERO..=DAY),
        shutdown_grace: section.duration("shutdown_grace", SECOND * 30, ZERO..=DAY),
    };
    section.finish();
    session
}

pub(super) fn read_runtime(mut section: Section<'_>) -> Runtime {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    let half = cpus.div_ceil(2);
    let runtime = Runtime {
        worker_threads: section.number("worker_threads", half, 1..=1_024),
        http_threads: section.number("http_threads", half, 1..=1_024),
    };
    section.finish();
    runtime
}

pub(super) fn read_log(mut section: Section<'_>) -> Log {
    let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let log = Log {
        format: section.word("format", &formats).unwrap_or(LogFormat::Auto),
        level: section.word("level", &levels).unwrap_or(LevelFilter::INFO),
    };
    section.finish();
    log
}
