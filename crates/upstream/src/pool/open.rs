//! How a server comes into a pool, and how it leaves it.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::lease::Place;
use super::{Common, Happened};
use crate::claims::ClaimsMode;
use crate::connect::Failure;
use crate::error::{DatabaseError, Error, Step};
use crate::login::Login;
use crate::means::ask;
use crate::parameters::Parameters;
use crate::parting::Parting;
use crate::prepared::Prepared;
use crate::server::Server;
use crate::startup::Startup;

/// Whether `DISCARD ALL` leaves nothing of a session behind, and what the login has in its defaults.
///
/// `DISCARD ALL` does not reach what lives outside of the database's own session state: connections of dblink and of
/// foreign servers, and the interpreters of procedural languages, which keep what they were told for the life of the
/// process even where the language is a trusted one.
///
/// Whoever is a client can go back to the login and give it defaults (`ALTER ROLE CURRENT_USER SET`), which would be
/// everybody's. They are looked for in the session, which has them or not, and not where they are stored.
const LOOK: &str = "SELECT \
    NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'dblink'::pg_catalog.name) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_data_wrapper \
        WHERE fdwname OPERATOR(pg_catalog.<>) 'file_fdw'::pg_catalog.name) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_language \
        WHERE lanname OPERATOR(pg_catalog.<>) ALL ('{internal,c,sql,plpgsql}'::pg_catalog.name[])), \
    (SELECT pg_catalog.string_agg(name, ', ') FROM pg_catalog.pg_settings \
        WHERE source OPERATOR(pg_catalog.=) ANY ('{user,database user}'::pg_catalog.text[]) \
        AND context OPERATOR(pg_catalog.=) ANY ('{user,backend}'::pg_catalog.text[]))";

/// Takes from the login the defaults that it can give itself, and leaves those that only a superuser can.
fn forgetting(database: &str) -> String {
    let database = database.replace('"', "\"\"");
    // The operator may have transactions read only.
    format!(
        "BEGIN READ WRITE; SET LOCAL ROLE NONE; ALTER ROLE SESSION_USER RESET ALL; \
         ALTER ROLE SESSION_USER IN DATABASE \"{database}\" RESET ALL; COMMIT"
    )
}

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

/// Logs in; once more, if the login had defaults, without them.
async fn log_in(common: &Common, place: &Place, login: &Login) -> Result<Server, Failure> {
    let (mut server, defaults) = enter(common, place, login).await?;
    let Some(settings) = defaults else { return Ok(server) };
    let forgotten = Step::Login.within(common.connect.login_timeout, forget(&mut server, &place.database.name)).await;
    let (server, forgotten) = server.or_part(forgotten)?;
    if forgotten.is_ok() {
        place.database.report(&place.role, Happened::Forgotten { settings: &settings });
    }
    place.outlast(server.part()).await;
    // Also where it was refused: somebody else may have been about it.
    let (server, defaults) = enter(common, place, login).await?;
    let (server, ()) = server.or_part(match (defaults, forgotten) {
        (None, _) => Ok(()),
        (Some(settings), Ok(())) => Err(Error::Defaults { settings, cause: "they came back at once".to_owned() }),
        (Some(settings), Err(cause)) => Err(Error::Defaults { settings, cause: cause.to_string() }),
    })?;
    Ok(server)
}

/// A server, and the names of the defaults that its login has, if there are any.
async fn enter(common: &Common, place: &Place, login: &Login) -> Result<(Server, Option<String>), Failure> {
    let startup = Startup {
        database: &place.database.name,
        role: &place.role,
        settings: &common.settings,
        parameters: &Parameters::default(),
        claims: &common.claims,
    };
    let mut server = Server::enter(&common.connect, login, &startup).await?;
    server.prepared = Prepared::new(common.config.max_prepared_statements);
    let looked = Step::Login.within(common.connect.login_timeout, look(&mut server)).await;
    let (server, (reusable, defaults)) = server.or_part(looked)?;
    Ok((Server { reusable, ..server }, defaults))
}

/// Asks the database what there is to know of a server before somebody has it.
async fn look(server: &mut Server) -> Result<(bool, Option<String>), Error> {
    let row = ask(LOOK, &mut server.stream, Arc::make_mut(&mut server.parameters)).await?;
    let [Some(reusable), defaults] = &row[..] else {
        return Err(Error::Protocol("a row of two columns was asked for".to_owned()));
    };
    Ok((reusable[..] == *b"t", defaults.as_deref().map(|names| String::from_utf8_lossy(names).into_owned())))
}

/// Tells what the database says against it.
async fn forget(server: &mut Server, database: &str) -> Result<Result<(), DatabaseError>, Error> {
    match ask(&forgetting(database), &mut server.stream, Arc::make_mut(&mut server.parameters)).await {
        Ok(_) => Ok(Ok(())),
        Err(Error::Init(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}
