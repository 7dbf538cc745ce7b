//! What `pgusher setup --harden` does to a database, and nothing else of what setup does.

use sql::{Identity, ServedRole, Setup, Step};
use tokio_postgres::Client;

use crate::stage::ROLES;

/// Hardens the database of this superuser's session, for the stage's roles.
///
/// # Panics
/// If the superuser may not.
pub async fn harden(superuser: &Client) {
    let logins = ROLES.map(|role| format!("pgusher_{role}"));
    let served = |(role, login)| ServedRole { role, login, verifier: None };
    let served: Vec<_> = ROLES.into_iter().zip(logins.iter().map(String::as_str)).map(served).collect();
    let with = |harden| Setup { identity: Identity::Signed(None), roles: &served, schema: None, harden }.parts();
    // The roles are every test's, so they stay as they are.
    let rest = with(false);
    for part in with(true).into_iter().filter(|part| !rest.contains(part)) {
        let Step::Statements(statements) = part.step else { panic!("{part:?} is no statement") };
        superuser.batch_execute(&statements).await.expect("a superuser may");
    }
}
