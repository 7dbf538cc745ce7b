//! Whether the logins have their passwords already. A verifier has a salt, so to set the same password again is a change. A
//! superuser can read what is stored; everybody else can try to log in.

use std::collections::BTreeMap;

use sql::scram_verifies;
use upstream::{Login, Parameters, Password, Server, Settings, Startup};

use super::database::{Database, ScriptError};
use super::secrets::Secrets;
use crate::random::random_hex;

/// What is known of a login's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The database has it.
    Right,
    /// There is no such login, or it has no password.
    Missing,
    /// The database has another.
    Wrong,
    /// Anybody gets in, whatever they say.
    Unknown,
}

/// By login, for every password that is there.
pub(super) type Standings = BTreeMap<String, Standing>;

/// Finds out about all of them.
pub(super) async fn look(database: &Database, secrets: &Secrets) -> Result<Standings, ScriptError> {
    let stored = database.verifiers().await?;
    let mut standings = Standings::new();
    for (login, password) in secrets.passwords() {
        let read = stored.as_ref().map(|stored| match stored.get(login) {
            Some(verifier) => scram_verifies(verifier, password).map(standing),
            None => Some(Standing::Missing),
        });
        let standing = match read.flatten() {
            Some(standing) => standing,
            None if database.has_role(login).await? => try_out(database, login, password).await,
            None => Standing::Missing,
        };
        standings.insert(login.to_owned(), standing);
    }
    Ok(standings)
}

fn standing(right: bool) -> Standing {
    if right { Standing::Right } else { Standing::Wrong }
}

async fn try_out(database: &Database, login: &str, password: &str) -> Standing {
    if !lets_in(database, login, password).await {
        Standing::Wrong
    } else if lets_in(database, login, &random_hex(16)).await {
        Standing::Unknown
    } else {
        Standing::Right
    }
}

async fn lets_in(database: &Database, name: &str, password: &str) -> bool {
    let login = Login { user: name.to_owned(), password: Some(Password::new(password.to_owned())) };
    let (settings, parameters) = (Settings::default(), Parameters::default());
    let startup = Startup {
        database: &database.owner.database,
        role: name,
        settings: &settings,
        parameters: &parameters,
        claims: &upstream::ClaimsMode::Claims,
    };
    match Server::open(&database.owner.connect, &login, &startup).await {
        Ok(server) => {
            server.terminate().await;
            true
        }
        Err(_) => false,
    }
}
