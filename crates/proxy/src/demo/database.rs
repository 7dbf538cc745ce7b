//! The demo's database: its owner, the roles that clients get with the logins that reach them, the `auth` schema, and the
//! tables. Every step can be taken again on a database that has it, because a kept one is set up at each start.

use sql::ServedRole;
use tokio_postgres::{Client, Config, NoTls};

use super::postgres::Postgres;

/// The database, as in the guide that the demo follows.
pub const DATABASE: &str = "neondb";

/// Its owner, who may do everything in it and is no subject of Row-Level Security.
pub const OWNER: &str = "neondb_owner";

/// The role of clients without a token.
pub const ANONYMOUS: &str = "anonymous";

/// The demo's tables, policies, grants and rows. Needs the schema `auth` and the roles.
pub const TABLES: &str = include_str!("schema.sql");

/// Sets the database up, from nothing or from what an earlier start left: the owner with `owner_password`, the signing
/// `key`, each of `roles` with its login, and the tables if they are not there.
///
/// The owner's password is made by us and has only hexadecimal digits.
pub async fn set_up(
    postgres: &Postgres,
    owner_password: &str,
    key: &[u8; 32],
    roles: &[ServedRole<'_>],
) -> Result<(), tokio_postgres::Error> {
    let server = connect(&postgres.superuser()).await?;
    create_database(&server, owner_password).await?;
    let database = connect(postgres.superuser().dbname(DATABASE)).await?;
    install_auth(&database, key, roles).await?;
    create_tables(&database).await
}

async fn create_database(server: &Client, owner_password: &str) -> Result<(), tokio_postgres::Error> {
    if absent(server, "SELECT FROM pg_roles WHERE rolname = $1", OWNER).await? {
        let role = format!("CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB");
        server.batch_execute(&role).await?;
    }
    let password = format!("ALTER ROLE {OWNER} PASSWORD '{owner_password}'");
    server.batch_execute(&password).await?;
    if absent(server, "SELECT FROM pg_database WHERE datname = $1", DATABASE).await? {
        let database = format!("CREATE DATABASE {DATABASE} OWNER {OWNER}");
        server.batch_execute(&database).await?;
    }
    Ok(())
}

async fn install_auth(
    database: &Client,
    key: &[u8; 32],
    roles: &[ServedRole<'_>],
) -> Result<(), tokio_postgres::Error> {
    database.batch_execute(sql::INSTALL).await?;
    let (inner, outer) = sql::pads(key);
    let pads: [&[u8]; 2] = [&inner, &outer];
    database.execute(sql::INSERT_KEY, &[&sql::kid(key), &pads[0], &pads[1]]).await?;
    for role in roles {
        database.batch_execute(&role.sql()).await?;
    }
    Ok(())
}

/// All or nothing, so that a start that was interrupted leaves no half of it.
async fn create_tables(database: &Client) -> Result<(), tokio_postgres::Error> {
    let todos = "SELECT FROM pg_tables WHERE schemaname = 'public' AND tablename = $1";
    if absent(database, todos, "todos").await? {
        let script = format!("BEGIN; SET LOCAL ROLE {OWNER}; {TABLES} COMMIT");
        database.batch_execute(&script).await?;
    }
    Ok(())
}

async fn absent(client: &Client, query: &str, name: &str) -> Result<bool, tokio_postgres::Error> {
    Ok(client.query_opt(query, &[&name]).await?.is_none())
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client; its error, if any, is what the client's next call returns.
    tokio::spawn(connection);
    Ok(client)
}
