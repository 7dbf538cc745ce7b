//! The application of `examples/todos`, as `make demo` serves it, in a real browser.

use std::path::Path;

use pgusher_tests::Demo;
use tokio::net::TcpSocket;

#[tokio::test]
async fn the_todos_of_each_user_are_theirs_in_a_browser() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let start = top.join("examples/todos/start");
    // Bound but not listening, it keeps the port for the application, and from everybody who takes any free one.
    let port = TcpSocket::new_v4().expect("a socket");
    port.set_reuseaddr(true).expect("a socket");
    port.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let number = port.local_addr().expect("an address").port();
    let demo = Demo::start_with_app(number, &format!("'{}'", start.display()));

    let drivers = top.join("tests/drivers");
    let told = demo.prints(&format!("cd '{}' && exec node browser.mjs", drivers.display()));

    assert_eq!(told, "ok browser\n");
    // What each of them has done in the browser, nobody else's row has felt.
    let rows =
        "select string_agg(distinct user_id || ' ' || (task like 'Rest%'), ', ') from todos where is_complete = false";
    let owner = demo.prints(&format!("psql -XAt \"$OWNER_URL\" -c \"{rows}\""));
    assert_eq!(owner, "alice true, bob false\n");
}
