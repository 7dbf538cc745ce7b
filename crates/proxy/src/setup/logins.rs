//! Whether the logins have their passwords already. A verifier has a salt, so to set the same password again is a change,
//! and what is stored only a superuser can read; but everybody can try to log in.

use std::collections::BTreeSet;

use upstream::{Login, Parameters, Password, Server, Settings, Startup};

use super::database::Database;
use super::secrets::Secrets;
use crate::demo::home::random_hex;

/// The logins whose passwords, as far as they are there, are right in this database.
pub(super) async fn working(database: &Database, secrets: &Secrets) -> BTreeSet<String> {
    let mut working = BTreeSet::new();
    for (login, password) in secrets.passwords() {
        // Where anybody gets in whatever they say, it proves nothing.
        if lets_in(database, login, password).await && !lets_in(database, login, &random_hex(16)).await {
            working.insert(login.to_owned());
        }
    }
    working
}

async fn lets_in(database: &Database, name: &str, password: &str) -> bool {
    let login = Login { user: name.to_owned(), password: Some(Password::new(password.to_owned())) };
    let (settings, parameters) = (Settings::default(), Parameters::default());
    let startup =
        Startup { database: &database.owner.database, role: name, settings: &settings, parameters: &parameters };
    match Server::open(&database.owner.connect, &login, &startup).await {
        Ok(server) => {
            server.terminate().await;
            true
        }
        Err(_) => false,
    }
}
