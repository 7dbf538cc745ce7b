//! The demo's proxy.toml: a complete configuration, such as an operator would write for Auth0, with the demo's issuer in
//! Auth0's place.

use std::net::SocketAddr;

use super::database::{ANONYMOUS, DATABASE};
use super::issuer::Issuer;
use super::postgres::Postgres;
use super::token::{AUDIENCE, ROLE};

/// Servers at once for one role: more than `pgbench -c 64` needs, and for two roles within [`MAX_CONNECTIONS`].
const POOL_SIZE: u32 = 250;

/// The server's `max_connections`: both roles' pools, and a few for the owner.
pub(super) const MAX_CONNECTIONS: u32 = 2 * POOL_SIZE + 20;

/// The name of the file with the key that signs claims, beside the configuration.
pub(super) const CLAIMS_SECRET: &str = "claims.secret";

/// The roles that clients may get.
pub(super) const ROLES: [&str; 2] = [ROLE, ANONYMOUS];

/// Where everything that a client talks to is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    /// The proxy, by Postgres's protocol.
    pub(super) postgres: SocketAddr,
    /// The proxy, by HTTP.
    pub(super) http: SocketAddr,
    /// Its metrics.
    pub(super) admin: SocketAddr,
    /// The application, if there is one.
    pub(super) app: SocketAddr,
}

/// The login role that reaches `role`.
pub(super) fn login(role: &str) -> String {
    format!("pgusher_{role}")
}

/// The name of the file with the login's password, beside the configuration.
pub(super) fn password_file(role: &str) -> String {
    format!("{role}.password")
}

/// The text of the file.
pub(super) fn proxy_toml(addresses: &Addresses, postgres: &Postgres, issuer: &Issuer) -> String {
    let roles = ROLES.map(role_table).concat();
    format!(
        r#"# Written by `pgusher demo`; every start writes it anew.

[listen]
postgres = ["{listen}"]
http = ["{http}"]
admin = ["{admin}"]

[upstream]
host = {host}
port = {port}
databases = ["{DATABASE}"]

[claims]
mode = "signed"
secret_file = "{CLAIMS_SECRET}"
{roles}
[[provider]]
name = "demo"
issuer = "{issuer}"
jwks_url = "{jwks}"
audience = ["{AUDIENCE}"]
roles = ["{ROLE}"]
role_claim = "$.role"

[anonymous]
role = "{ANONYMOUS}"

# The pages of an application on this machine may ask over HTTP.
[http]
cors_origins = ["http://{app}", "http://localhost:{app_port}"]
default_role = "{ROLE}"
default_database = "{DATABASE}"

[pool]
default_pool_size = {POOL_SIZE}

# What the guide makes on purpose, or Postgres leaves open; `pgusher setup --harden` is not for a throwaway database.
[safety]
allow = [
    "database-temporary", "default-table-grant", "policy-always-true",
    "function-ends-sessions", "function-makes-large-objects", "function-shows-statements", "language-usable",
]
"#,
        listen = addresses.postgres,
        http = addresses.http,
        admin = addresses.admin,
        app = addresses.app,
        app_port = addresses.app.port(),
        host = toml::Value::from(postgres.sockets().display().to_string()),
        port = postgres.port(),
        issuer = issuer.url(),
        jwks = issuer.jwks_url(),
    )
}

fn role_table(role: &str) -> String {
    format!(
        r#"
[[role]]
name = "{role}"
login = "{}"
password_file = "{}"
"#,
        login(role),
        password_file(role)
    )
}
