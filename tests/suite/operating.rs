//! What docs/operating.md says of metrics and the log, and what `deploy/pgusher.service` has systemd do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use pgusher_tests::{Proxy, Stage, binary};

const PAGE: &str = include_str!("../../docs/operating.md");
const UNIT: &str = include_str!("../../deploy/pgusher.service");

/// What stands first in each row of the page's table that has this head.
fn column(head: &str) -> BTreeSet<&'static str> {
    let (_, table) = PAGE.split_once(head).expect("the table is there");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('`').nth(1).expect("a name")).collect()
}

/// The value of a directive.
fn directive(name: &str) -> &'static str {
    let value = |line: &'static str| line.strip_prefix(name)?.strip_prefix('=');
    UNIT.lines().find_map(value).unwrap_or_else(|| panic!("no {name}"))
}

fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).expect("a source");
        }
    }
}

#[tokio::test]
async fn the_page_has_every_metric() {
    let proxy = Proxy::builder(Stage::get()).set("listen.admin", "127.0.0.1:0").start().await;
    let answer = proxy.asked("GET /metrics").await;
    let families = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    assert_eq!(families.collect::<BTreeSet<_>>(), column("| metric | labels | |"));
}

#[test]
fn what_the_page_has_of_the_log_is_logged() {
    let mut text = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/proxy/src"), &mut text);
    let messages = column("| message | level | fields |");
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        let quoted = message.strip_suffix('…').map_or_else(|| format!("\"{message}\""), |begun| format!("\"{begun}"));
        assert!(text.contains(&quoted), "{message}");
    }
}

#[tokio::test]
async fn the_unit_starts_what_there_is_and_does_not_try_again_what_mends_itself_in_no_way() {
    let mut proxy = Proxy::start(Stage::get()).await;
    let wrong = proxy.directory().join("wrong.toml");
    fs::write(&wrong, "[listen]\nnothing = 1\n").expect("a file");
    let mut words = directive("ExecStart").split(' ');
    assert!(words.next().is_some_and(|program| program.ends_with("/pgusher")));
    let arguments = words.map(|word| if word == "/etc/pgusher/proxy.toml" { wrong.as_os_str() } else { word.as_ref() });
    let told = Command::new(binary()).args(arguments).output().expect("it runs");
    assert!(String::from_utf8_lossy(&told.stderr).contains("nothing: unknown key"), "{told:?}");
    assert_eq!(told.status.code(), directive("RestartPreventExitStatus").parse().ok());

    let reload = directive("ExecReload").strip_prefix("/bin/kill -").and_then(|rest| rest.strip_suffix(" $MAINPID"));
    proxy.signal(reload.expect("a signal")).await;
    proxy.logs("SIGHUP: renewing certificate and keys").await;
    proxy.signal("TERM").await;
    assert_eq!(proxy.exit_code().await, Some(0));
}
