//! Codes: what a login gives to the browser, for its page to fetch tokens with. Each works once, and not for long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::demo::home::random_hex;

/// How long a page has to fetch its tokens.
const LIFETIME: Duration = Duration::from_secs(60);

/// Codes that wait at once; then the oldest goes, however young.
const MOST: usize = 1_000;

/// What was granted, and to whom the tokens may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// Who has logged in.
    pub(super) subject: String,
    /// Where the code was sent.
    pub(super) redirect_uri: String,
    /// The PKCE challenge of whoever asked for it.
    pub(super) challenge: String,
    /// The `nonce` that the ID token has to repeat.
    pub(super) nonce: Option<String>,
}

/// The codes that nobody has used yet, in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Codes(VecDeque<Code>);

#[derive(Debug)]
struct Code {
    text: String,
    made: Instant,
    grant: Grant,
}

impl Codes {
    /// A new code.
    pub(super) fn issue(&mut self, grant: Grant, now: Instant) -> String {
        self.forget_expired(now);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        let text = random_hex(32);
        self.0.push_back(Code { text: text.clone(), made: now, grant });
        text
    }

    /// What a code stands for; it stands for nothing from then on.
    pub(super) fn redeem(&mut self, text: &str, now: Instant) -> Option<Grant> {
        self.forget_expired(now);
        let position = self.0.iter().position(|code| code.text == text)?;
        self.0.remove(position).map(|code| code.grant)
    }

    fn forget_expired(&mut self, now: Instant) {
        let expired = self.0.partition_point(|code| now.duration_since(code.made) >= LIFETIME);
        self.0.drain(..expired);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(subject: &str) -> Grant {
        Grant { subject: subject.into(), redirect_uri: String::new(), challenge: String::new(), nonce: None }
    }

    #[test]
    fn a_code_works_once() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let [alice, bob] = ["alice", "bob"].map(|subject| codes.issue(grant(subject), now));
        assert_eq!(codes.redeem(&bob, now), Some(grant("bob")));
        assert_eq!(codes.redeem(&bob, now), None);
        assert_eq!(codes.redeem(&alice, now), Some(grant("alice")));
    }

    #[test]
    fn a_code_works_for_a_minute() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let [early, late] = ["alice", "bob"].map(|subject| codes.issue(grant(subject), now));
        let minute = Duration::from_secs(60);
        assert_eq!(codes.redeem(&early, now + minute - Duration::from_nanos(1)), Some(grant("alice")));
        assert_eq!(codes.redeem(&late, now + minute), None);
    }

    #[test]
    fn of_too_many_codes_the_oldest_goes() {
        let (mut codes, now) = (Codes::default(), Instant::now());
        let made: Vec<_> = (0..=MOST).map(|number| codes.issue(grant(&number.to_string()), now)).collect();
        assert_eq!(codes.redeem(&made[0], now), None);
        assert_eq!(codes.redeem(&made[1], now), Some(grant("1")));
        assert_eq!(codes.redeem(&made[MOST], now), Some(grant(&MOST.to_string())));
    }
}
