//! Clients of HTTP that mean harm, or have gone wrong: a clear answer or the end of their connection, and others go on.

mod bodies;
mod connection_string;
mod flood;
mod heads;
mod http2;
mod isolation;
mod memory;
mod noise;
mod slow;
mod smuggling;

use pgusher_tests::{Proxy, Stage};
use serde_json::json;

async fn proxy() -> Proxy {
    Proxy::builder(Stage::get()).http().set("http.address_failures", 0).start().await
}

/// Whoever comes now is served.
async fn goes_on(proxy: &Proxy) {
    let rows = proxy.sql_rows(&Stage::get().token("alice"), "SELECT auth.user_id() AS me").await;
    assert_eq!(rows, json!([{"me": "alice"}]));
}

/// The body of a query.
fn query(sql: &str) -> String {
    json!({"query": sql}).to_string()
}
