//! How a server comes into a pool, and how it leaves it.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::lease::Place;
use super::{Common, Happened};
use crate::claims::ClaimsMode;
use crate::connect::Failure;
use crate::error::{Error, Step};
use crate::login::Login;
use crate::means::ask;
use crate::parameters::Parameters;
use crate::parting::Parting;
use crate::prepared::Prepared;
use crate::server::Server;
use crate::startup::Startup;

/// Whether `DISCARD ALL` leaves nothing of a session behind. It does not reach what lives outside of the database's own
/// session state: connections of dblink and of foreign servers, and the interpreters of procedural languages, which keep
/// what they were told for the life of the process even where the language is a trusted one.
const IS_REUSABLE: &str = "SELECT \
    NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'dblink'::pg_catalog.name) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper \
        WHERE fdwname OPERATOR(pg_catalog.<>) 'file_fdw'::pg_catalog.name) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_language \
        WHERE lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c,sql,plpgsql}'::pg_catalog.name[]))";

/// Opens a server for a place, and leaves it to the line: whoever is first then takes it. A failure is looked at again
/// when it is time for another attempt.
pub(super) async fn open(place: Place, login: Login, instead_of: Option<(Box<Parting>, Option<Place>)>) {
    let common = Arc::clone(&place.database.common);
    // The limits are the server's too, so the one has to be gone before the other comes.
    let place = match instead_of {
        Some((parting, evicted)) => take_over(place, parting, evicted).await,
        None => Some(place),
    };
    let Some(place) = place else { return };
    let (database, role) = (Arc::clone(&place.database), Arc::clone(&place.role));
    match log_in(&common, &place, &login).await {
        Ok(server) => {
            database.report(&role, Happened::Opened { pid: server.cancel.pid(), reusable: server.reusable });
            let asked = matches!(common.claims, ClaimsMode::Auto(_));
            place.settle(|books, role, _| {
                if asked {
                    books.settled(role, server.means.name());
                }
                books.opened(role, Box::new(server));
            });
        }
        Err(Failure { error, parting, .. }) => {
            let error = Arc::new(error);
            database.report(&role, Happened::Failed(&error));
            if place.settle(|books, role, _| books.failed(role, &error, parting)) {
                sleep(common.config.server_login_retry).await;
                database.act(|books| books.stir(&role));
            }
        }
    }
}

/// The place, when the server is gone for which another is to be opened in it. If that takes longer than a login may, who
/// waits has to look elsewhere, and this is done when it is gone. Of one of another pool, with its place there.
async fn take_over(mut place: Place, parting: Box<Parting>, evicted: Option<Place>) -> Option<Place> {
    let limit = place.database.common.connect.login_timeout;
    let mut gone = pin!(evicted.as_ref().unwrap_or(&place).outlast(parting));
    if timeout(limit, &mut gone).await.is_ok() {
        return Some(place);
    }
    match evicted {
        Some(_) => place.cede(),
        None => place.delay(),
    }
    gone.await;
    None
}

async fn log_in(common: &Common, place: &Place, login: &Login) -> Result<Server, Failure> {
    let startup = Startup {
        database: &place.database.name,
        role: &place.role,
        settings: &common.settings,
        parameters: &Parameters::default(),
        claims: &common.claims,
    };
    let mut server = Server::enter(&common.connect, login, &startup).await?;
    server.prepared = Prepared::new(common.config.max_prepared_statements);
    let asked = Step::Login.within(common.connect.login_timeout, is_reusable(&mut server)).await;
    let (server, reusable) = server.or_part(asked)?;
    Ok(Server { reusable, ..server })
}

/// Asks the database. One that does not tell is taken for one that keeps something.
async fn is_reusable(server: &mut Server) -> Result<bool, Error> {
    match ask(IS_REUSABLE, &mut server.stream, Arc::make_mut(&mut server.parameters)).await {
        Ok(row) => Ok(matches!(&row[..], [Some(answer)] if answer[..] == *b"t")),
        Err(Error::Init(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
