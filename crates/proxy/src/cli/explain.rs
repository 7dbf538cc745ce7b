//! `pgusher token explain`: what is in a token, and whether it would get its owner in.

use std::fmt::{Display, Write as _};
use std::io::{self, Read};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::{Explanation, Fault, MAX_TOKEN, Rejection, Verifier};

use super::failure::Failure;

/// The answer for people, and for the exit code.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) outcome: Result<(), Failure>,
}

/// The token of the command line, or with `-` that of standard input.
///
/// # Errors
/// What the system says about standard input.
pub(super) fn read(argument: &str) -> io::Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut token = String::new();
    // Enough to see that it is too long.
    io::stdin().take(MAX_TOKEN as u64 + 16).read_to_string(&mut token)?;
    Ok(token.trim_end().to_owned())
}

/// Judges a token as a login with it would, asking for `role`, or for whichever role it may have.
pub(super) async fn judge(verifier: &Verifier, token: &str, role: Option<&str>) -> Verdict {
    let explanation = verifier.explain(token).await;
    let refused = match role {
        Some(role) => verifier.verify(token, role).await.err(),
        None => explanation.rejection.clone(),
    };
    let (mut text, outcome) = match &refused {
        None if role.is_none() && explanation.roles.is_empty() => {
            ("REFUSED: it may ask for no role\n".to_owned(), Err(Failure::Refused))
        }
        None => ("ACCEPTED\n".to_owned(), Ok(())),
        Some(rejection) => refusal(verifier, rejection).await,
    };
    if explanation.rejection.is_some() && explanation.claims.is_some() {
        text.push_str("What it says of itself, none of it verified:\n");
    }
    text.push_str(&contents(&explanation));
    Verdict { text, outcome }
}

async fn refusal(verifier: &Verifier, rejection: &Rejection) -> (String, Result<(), Failure>) {
    let mut text = format!("REFUSED: {rejection}\n");
    if let Some(hint) = rejection.hint() {
        text.push_str(&format!("Hint: {hint}\n"));
    }
    if rejection.fault() != Fault::Keys {
        return (text, Err(Failure::Refused));
    }
    for unready in verifier.ready().await {
        text.push_str(&format!("Cause: {unready}\n"));
    }
    (text, Err(Failure::Unavailable))
}

/// One line for each thing that is known. What a token says is quoted: it may be meant for the terminal.
fn contents(explanation: &Explanation) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: Option<&dyn Display>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<10}{value}");
        }
    };
    let quoted = |value: &Option<String>| value.as_ref().map(|value| format!("{value:?}"));
    let roles = (!explanation.roles.is_empty()).then(|| explanation.roles.join(", "));
    let [issuer, algorithm, key] = [&explanation.issuer, &explanation.algorithm, &explanation.key_id].map(quoted);
    let expires = explanation.expires.map(|expires| time(expires, SystemTime::now()));
    let values = [
        ("provider", &explanation.provider),
        ("issuer", &issuer),
        ("algorithm", &algorithm),
        ("key", &key),
        ("roles", &roles),
        ("expires", &expires),
        ("claims", &explanation.claims),
    ];
    for (name, value) in values {
        line(name, value.as_ref().map(|value| value as &dyn Display));
    }
    text
}

/// A time in Unix seconds, for people.
fn time(seconds: i64, now: SystemTime) -> String {
    // humantime panics at later dates.
    const LAST: u64 = 253_402_300_799;
    let Some(seconds) = u64::try_from(seconds).ok().filter(|seconds| *seconds <= LAST) else {
        return format!("{seconds} (no date)");
    };
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    let whole = |duration: Duration| humantime::format_duration(Duration::from_secs(duration.as_secs()));
    let distance = match at.duration_since(now) {
        Ok(left) => format!("in {}", whole(left)),
        Err(past) => format!("{} ago", whole(past.duration())),
    };
    format!("{} ({distance})", humantime::format_rfc3339_seconds(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_given_with_its_distance() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        assert_eq!(time(1_000_000_090, now), "2001-09-09T01:48:10Z (in 1m 30s)");
        assert_eq!(time(999_999_999, now), "2001-09-09T01:46:39Z (1s ago)");
        assert_eq!(time(i64::MAX, now), "9223372036854775807 (no date)");
        assert_eq!(time(-1, now), "-1 (no date)");
    }

    #[test]
    fn what_a_token_says_cannot_reach_the_terminal() {
        let explanation = Explanation { key_id: Some("\u{1b}[2J".into()), ..Explanation::default() };
        assert_eq!(contents(&explanation), "  key       \"\\u{1b}[2J\"\n");
    }

    #[tokio::test]
    async fn what_is_no_token_is_refused_with_a_hint() {
        let (verifier, _) = Verifier::new(&[]).expect("no provider is wrong");
        let verdict = judge(&verifier, "hunter2", None).await;
        assert!(verdict.text.starts_with("REFUSED: not a JWT"), "{}", verdict.text);
        assert!(verdict.text.contains("Hint: Send a signed JWT"), "{}", verdict.text);
        assert_eq!(verdict.outcome.expect_err("it is refused").exit_code(), 1);
    }
}
