//! What a client is told when it is in, and what is remembered of it for the next.
//!
//! The values of a session's settings are the server's to say. They depend on database, role and startup parameters
//! alone, so whoever comes with the same ones as somebody a moment ago is told the same, and needs no server yet. If a
//! server turns out to say otherwise, its client is told the difference.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wire::message;
use wire::owed::TxStatus;

use crate::authenticate::Request;
use crate::cancel::Registration;
use crate::relay::Reported;

/// How long a greeting is remembered.
const KEPT: Duration = Duration::from_secs(60);

/// How many are.
const MOST: usize = 1000;

/// What those were told who came last.
#[derive(Debug, Default)]
pub(crate) struct Greetings {
    told: Mutex<HashMap<Key, (Reported, Instant)>>,
}

type Key = (String, String, Vec<(String, String)>);

impl Greetings {
    /// What to tell a client that asks for this.
    pub(crate) fn find(&self, request: &Request) -> Option<Reported> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let (reported, until) = told.get(&key(request))?;
        (*until > Instant::now()).then(|| reported.clone())
    }

    /// Remembers what a server said to such a client.
    pub(crate) fn keep(&self, request: &Request, reported: &Reported) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.len() >= MOST {
            told.retain(|_, (_, until)| *until > now);
        }
        if told.len() < MOST {
            told.insert(key(request), (reported.clone(), now + KEPT));
        }
    }
}

fn key(request: &Request) -> Key {
    let parameters = request.parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    (request.database.clone(), request.role.clone(), parameters)
}

/// AuthenticationOk, what the server reported of itself, our cancel key, ReadyForQuery.
pub(crate) fn greet(reported: &Reported, registration: &Registration) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    message::authentication_ok(&mut out);
    for (name, value) in reported.iter() {
        message::parameter_status(&mut out, name, value);
    }
    message::backend_key_data(&mut out, registration.process_id, registration.key());
    message::ready_for_query(&mut out, TxStatus::Idle);
    out
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use upstream::Parameters;
    use wire::startup::Version;

    use super::*;

    fn request(role: &str) -> Request {
        let parameters = Parameters::parse([("application_name", "test")]).unwrap();
        Request { version: Version::V3_0, role: role.to_owned(), database: "db".to_owned(), parameters }
    }

    fn reported(value: &str) -> Reported {
        Reported::new(vec![("TimeZone".to_owned(), value.to_owned())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_greeting_is_remembered_for_a_minute_from_when_a_server_said_it() {
        let (greetings, request, moment) = (Greetings::default(), request("a"), Duration::from_millis(1));
        greetings.keep(&request, &reported("UTC"));
        advance(KEPT - moment).await;
        assert_eq!(greetings.find(&request), Some(reported("UTC")));
        advance(moment).await;
        assert_eq!(greetings.find(&request), None);
        greetings.keep(&request, &reported("Asia/Tokyo"));
        advance(KEPT - moment).await;
        assert_eq!(greetings.find(&request), Some(reported("Asia/Tokyo")));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_over_make_room_for_others() {
        let greetings = Greetings::default();
        (0..MOST).for_each(|number| greetings.keep(&request(&number.to_string()), &reported("UTC")));
        greetings.keep(&request("late"), &reported("UTC"));
        assert_eq!(greetings.find(&request("late")), None, "there is no room");
        advance(KEPT).await;
        greetings.keep(&request("late"), &reported("UTC"));
        assert_eq!(greetings.find(&request("late")), Some(reported("UTC")));
    }
}
