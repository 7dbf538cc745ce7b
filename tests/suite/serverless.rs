//! Neon's serverless driver as it comes from npm, its newest version and the older one that the seed's application has, and
//! what is built on it: scripts of `tests/drivers`, over HTTP and WebSocket. Clients without a driver, too.

use pgusher_tests::{Proxy, ProxyBuilder, Stage};
use tokio::process::Command;

use crate::drivers::{owner_url, script, succeeds};

const NEWEST: &str = "@neondatabase/serverless";
const OLDER: &str = "neon-serverless-0-10";

/// Of each role: fewer than requests come at once, so that they have to share.
const SERVERS: u8 = 4;

fn builder() -> ProxyBuilder<'static> {
    Proxy::builder(Stage::get()).http().set("pool.default_pool_size", SERVERS)
}

/// A script with what it needs to know of a proxy, a database and the tokens.
fn script_for(command: &[&str], proxy: &Proxy, database: &str) -> Command {
    let stage = Stage::get();
    let address = proxy.http_address();
    let mut script = script(command);
    script.env("HTTP_ADDRESS", &address).env("HTTPS_PORT", address.rsplit(':').next().expect("a port"));
    script.env("PGHOST", "127.0.0.1").env("PGPORT", proxy.port().to_string()).env("PGDATABASE", database);
    script.env("ALICE", stage.token("alice").to_string()).env("BOB", stage.token("bob").to_string());
    script.env("EXPIRED", stage.token("alice").expired().to_string());
    script.env("CA", &stage.authority.file).env("NODE_EXTRA_CA_CERTS", &stage.authority.file);
    script
}

/// Runs a script on the demo's tables, which are its own: it counts what is in them.
async fn works(command: &[&str], what: &str) {
    let (database, _) = Stage::get().demo_database().await;
    let proxy = builder().start().await;
    succeeds(&mut script_for(command, &proxy, &database), what).await;
}

#[tokio::test]
async fn the_driver_works_over_http() {
    works(&["node", "neon/http.mjs", NEWEST], &format!("http {NEWEST}")).await;
}

#[tokio::test]
async fn the_older_driver_works_over_http() {
    works(&["node", "neon/http.mjs", OLDER], &format!("http {OLDER}")).await;
}

#[tokio::test]
async fn the_driver_works_over_websocket() {
    works(&["node", "neon/websocket.mjs", NEWEST], &format!("websocket {NEWEST}")).await;
}

#[tokio::test]
async fn the_older_driver_works_over_websocket() {
    works(&["node", "neon/websocket.mjs", OLDER], &format!("websocket {OLDER}")).await;
}

#[tokio::test]
async fn users_at_the_same_time_see_nothing_of_each_other() {
    works(&["node", "neon/identity.mjs"], "identity").await;
}

#[tokio::test]
async fn values_of_every_type_are_the_same_over_http_websocket_and_tcp() {
    let (database, _) = Stage::get().owned_database().await;
    let proxy = builder().start().await;
    let mut script = script_for(&["node", "neon/types.mjs"], &proxy, &database);
    script.env("OWNER_URL", owner_url(Stage::get().postgres_port(), &database));
    succeeds(&mut script, "types").await;
}

#[tokio::test]
async fn the_driver_and_http_2_work_under_tls() {
    let proxy = builder().tls().set("tls.required", "always").start().await;
    succeeds(&mut script_for(&["node", "neon/tls.mjs"], &proxy, "neondb"), "tls").await;
}

#[tokio::test]
async fn curl_works() {
    let defaults = builder().set("http.default_role", "authenticated").set("http.default_database", "neondb");
    let proxy = defaults.tls().start().await;
    succeeds(&mut script_for(&["./curl.sh"], &proxy, "neondb"), "curl").await;
}

#[tokio::test]
async fn drizzle_works_on_what_its_kit_has_made() {
    let (database, superuser) = Stage::get().owned_database().await;
    let proxy = builder().set("passthrough.users", "neondb_owner").start().await;
    for step in ["generate", "migrate"] {
        let kit = ["node", "node_modules/drizzle-kit/bin.cjs", step, "--config", "drizzle/drizzle.config.ts"];
        let mut kit = script_for(&kit, &proxy, &database);
        // The seed's DATABASE_URL: the owner comes to the proxy, too, with a password.
        kit.env("OWNER_URL", owner_url(proxy.port(), &database)).env("OUT", proxy.directory().join("drizzle"));
        let ran = kit.output().await.expect("drizzle-kit runs");
        assert!(ran.status.success(), "{step}: {ran:?}");
    }
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO authenticated";
    superuser.batch_execute(grant).await.expect("the table is there");
    let todos = ["node", "--import", "tsx", "drizzle/todos.mjs"];
    succeeds(&mut script_for(&todos, &proxy, &database), "drizzle").await;
}

#[tokio::test]
async fn prisma_works() {
    let (database, _) = Stage::get().demo_database().await;
    let proxy = builder().start().await;
    let generate = ["node", "node_modules/prisma/build/index.js", "generate", "--schema", "prisma/schema.prisma"];
    let mut generate = script_for(&generate, &proxy, &database);
    // It would ask the network for its migration engine, which generating has no use for, and for news.
    generate.env("PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true").env("CHECKPOINT_DISABLE", "1");
    let ran = generate.output().await.expect("prisma runs");
    assert!(ran.status.success(), "{ran:?}");
    succeeds(&mut script_for(&["node", "prisma/todos.mjs"], &proxy, &database), "prisma").await;
}
