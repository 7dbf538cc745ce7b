//! The claims that decide whether a token holds now and here: times, audience, subject.

use serde_json::{Map, Value};

use crate::rejection::Rejection;

/// The last second of the year 9999. A date beyond it is an accident, milliseconds mostly.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// A token's terms. Times are Unix seconds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) subject: Option<String>,
    pub(crate) expires: i64,
    not_before: Option<i64>,
    issued_at: Option<i64>,
    pub(crate) audience: Vec<String>,
}

impl Terms {
    pub(crate) fn read(claims: &Map<String, Value>) -> Result<Self, Rejection> {
        Ok(Self {
            subject: subject(claims)?,
            expires: time(claims, "exp")?.ok_or(Rejection::MissingClaim("exp"))?,
            not_before: time(claims, "nbf")?,
            issued_at: time(claims, "iat")?,
            audience: audience(claims)?,
        })
    }

    /// Do they hold at `now`, by a clock that may differ from the issuer's by `leeway` seconds?
    pub(crate) fn check_times(&self, now: i64, leeway: i64) -> Result<(), Rejection> {
        if now >= self.expires.saturating_add(leeway) {
            return Err(Rejection::Expired { expired: self.expires, now });
        }
        for (claim, at) in [("nbf", self.not_before), ("iat", self.issued_at)] {
            if let Some(at) = at.filter(|at| *at > now.saturating_add(leeway)) {
                return Err(Rejection::NotYetValid { claim, at, now });
            }
        }
        Ok(())
    }

    /// Is one of `expected` among the token's audiences? None expected means that any will do.
    pub(crate) fn check_audience(&self, expected: &[String]) -> Result<(), Rejection> {
        if expected.is_empty() || self.audience.iter().any(|found| expected.contains(found)) {
            return Ok(());
        }
        Err(Rejection::WrongAudience { found: self.audience.clone(), expected: expected.to_vec() })
    }
}

fn subject(claims: &Map<String, Value>) -> Result<Option<String>, Rejection> {
    match claims.get("sub") {
        None => Ok(None),
        Some(Value::String(subject)) => Ok(Some(subject.clone())),
        Some(_) => Err(Rejection::MalformedClaim("sub")),
    }
}

/// A NumericDate (RFC 7519 §2), without its fraction. A date in a string is refused rather than
/// passed over: whoever wrote it meant it.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Rejection> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    match value.as_f64() {
        Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => Ok(Some(seconds as i64)),
        _ => Err(Rejection::MalformedClaim(name)),
    }
}

fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, Rejection> {
    let malformed = || Rejection::MalformedClaim("aud");
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) => {
            several.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(malformed)).collect()
        }
        Some(_) => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(claims: &Value) -> Result<Terms, Rejection> {
        Terms::read(claims.as_object().unwrap())
    }

    #[test]
    fn a_token_without_exp_is_refused() {
        assert_eq!(read(&json!({"sub": "alice"})), Err(Rejection::MissingClaim("exp")));
    }

    #[test]
    fn a_date_is_a_number_of_this_age() {
        for name in ["exp", "nbf", "iat"] {
            for date in [json!("1"), json!(null), json!(-1), json!(1e30), json!(253_402_300_800_u64), json!([1])] {
                let mut claims = json!({"exp": 1});
                claims[name] = date;
                assert_eq!(read(&claims), Err(Rejection::MalformedClaim(name)));
            }
        }
        assert_eq!(read(&json!({"exp": 1.9})).unwrap().expires, 1);
    }

    #[test]
    fn a_token_ends_with_its_leeway() {
        let terms = read(&json!({"exp": 1000})).unwrap();

        assert_eq!(terms.check_times(1029, 30), Ok(()));
        assert_eq!(terms.check_times(1030, 30), Err(Rejection::Expired { expired: 1000, now: 1030 }));
        assert_eq!(terms.check_times(999, 0), Ok(()));
        assert_eq!(terms.check_times(1000, 0), Err(Rejection::Expired { expired: 1000, now: 1000 }));
    }

    #[test]
    fn a_token_begins_with_its_leeway() {
        for claim in ["nbf", "iat"] {
            let terms = read(&json!({"exp": 2000, claim: 1000})).unwrap();

            assert_eq!(terms.check_times(970, 30), Ok(()));
            assert_eq!(terms.check_times(969, 30), Err(Rejection::NotYetValid { claim, at: 1000, now: 969 }),);
        }
    }

    #[test]
    fn one_common_audience_is_enough() {
        let api = ["api".to_owned(), "api2".to_owned()];
        for found in [json!("api"), json!(["x", "api2"])] {
            let terms = read(&json!({"exp": 1, "aud": found})).unwrap();
            assert_eq!(terms.check_audience(&api), Ok(()));
        }
    }

    #[test]
    fn another_audience_or_none_is_refused_where_one_is_expected() {
        let api = ["api".to_owned()];
        for found in [json!({"exp": 1}), json!({"exp": 1, "aud": []}), json!({"exp": 1, "aud": "API"})] {
            let terms = read(&found).unwrap();
            assert!(matches!(terms.check_audience(&api), Err(Rejection::WrongAudience { .. })));
            assert_eq!(terms.check_audience(&[]), Ok(()));
        }
    }

    #[test]
    fn subject_and_audience_have_their_types() {
        for (name, value) in [("sub", json!(7)), ("sub", json!(null)), ("aud", json!(7)), ("aud", json!(["a", 7]))] {
            assert_eq!(read(&json!({"exp": 1, name: value})), Err(Rejection::MalformedClaim(name)));
        }
    }
}
