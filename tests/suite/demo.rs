//! The demo as its user sees it: the lines it prints are run as printed, the env file is read by a shell, and Ctrl-C ends
//! it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use pgusher::demo::home::Scratch;
use pgusher_tests::{Demo, binary};
use serde_json::Value;

/// psql as a script would run it: rows only, and no question for a password.
const PSQL: &str = "psql --no-psqlrc --no-password --tuples-only --no-align --set=ON_ERROR_STOP=1";

/// The tasks of a user, and anyone else's that can be seen.
const TASKS: &str = "-c \"select string_agg(user_id || ': ' || task, ', ' order by id) from todos\"";

const ALICES: &str = "alice: Buy a ticket, alice: Find my seat, alice: Enjoy the show\n";

/// The line under the comment that begins with these words.
fn line<'a>(demo: &'a Demo, comment: &str) -> &'a str {
    let lines = demo.lines();
    let found = lines.iter().find(|(above, _)| above.starts_with(comment));
    found.unwrap_or_else(|| panic!("{comment:?} is not in {lines:#?}")).1
}

/// A printed line in a shell that knows nothing of the demo.
fn paste(line: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (output.status.success(), text.concat())
}

#[test]
fn the_welcome_has_a_line_for_each_of_the_parts_to_try() {
    let subjects = Demo::shared().lines().into_iter().map(|(comment, _)| comment.split(' ').next().unwrap_or_default());
    assert_eq!(subjects.collect::<Vec<_>>(), ["Alice", "Bob", "Alice", "Anonymous", "Alice", "A", "A"]);
}

#[test]
fn the_printed_lines_show_each_user_their_own_rows() {
    let demo = Demo::shared();
    for (comment, shown, rows) in [
        ("Alice sees", ["Buy a ticket", "Find my seat", "Enjoy the show"].as_slice(), "(3 rows)"),
        ("Bob sees", &["Sweep the stage", "Tune the piano"], "(2 rows)"),
        ("Anonymous", &["Opening night", "House rules"], "(2 rows)"),
    ] {
        let (succeeded, text) = paste(line(demo, comment));
        assert!(succeeded && text.contains(rows), "{text}");
        assert!(shown.iter().all(|row| text.contains(row)), "{text}");
    }
}

#[test]
fn the_printed_request_shows_alice_her_rows() {
    let (succeeded, text) = paste(line(Demo::shared(), "Alice asks by HTTP"));
    assert!(succeeded, "{text}");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    let owners: Vec<_> = answer["rows"].as_array().expect("rows").iter().map(|row| &row["user_id"]).collect();
    assert_eq!(owners, ["alice"; 3]);
}

#[test]
fn the_printed_forgeries_are_refused() {
    let demo = Demo::shared();
    for (comment, reason) in
        [("Alice writes", "session identity refused"), ("A stranger", "the signature does not match")]
    {
        let (succeeded, text) = paste(line(demo, comment));
        assert!(!succeeded && text.contains(reason), "{text}");
        assert!(!text.contains("rows)"), "{text}");
    }
}

#[test]
fn the_printed_line_mints_a_token_that_logs_in() {
    let demo = Demo::shared();
    let (succeeded, token) = paste(line(demo, "A token"));
    assert!(succeeded);
    let script = format!("PGPASSWORD={token}\nexport PGPASSWORD\n{PSQL} -c 'select auth.user_id()'");
    assert_eq!(demo.prints(&script), "carol\n");
}

#[test]
fn a_shell_that_reads_the_env_file_can_connect_as_everyone_in_it() {
    let demo = Demo::shared();
    for (user, tasks) in [("ALICE", ALICES), ("BOB", "bob: Sweep the stage, bob: Tune the piano\n")] {
        assert_eq!(demo.prints(&format!("PGPASSWORD=${user} {PSQL} {TASKS}")), tasks);
    }
    assert_eq!(demo.prints(&format!("PGUSER=anonymous {PSQL} -c 'select count(*) from posts'")), "2\n");
    assert_eq!(demo.prints(&format!("PGUSER=anonymous {PSQL} -c 'select count(*) from todos'")), "0\n");
}

#[test]
fn tokens_that_are_not_in_order_are_refused_with_the_reason() {
    let demo = Demo::shared();
    for (token, reason) in [
        ("$EXPIRED", "the token expired at"),
        ("$FORGED", "the signature does not match the key"),
        ("\"Bearer $ALICE\"", "starts with \"Bearer \""),
        ("\"$OWNER_URL\"", "not a JWT"),
    ] {
        let told = demo.complains(&format!("PGPASSWORD={token} {PSQL} {TASKS}"));
        assert!(told.contains("token refused") && told.contains(reason), "{told}");
    }
}

#[test]
fn the_owners_url_leads_past_the_proxy_to_every_row() {
    let owner = Demo::shared().prints(&format!("{PSQL} \"$OWNER_URL\" -c 'select current_user, count(*) from todos'"));
    assert_eq!(owner, "neondb_owner|5\n");
}

#[test]
fn the_issuer_serves_discovery_and_the_keys_it_names() {
    let issuer = Demo::shared().prints("printf %s \"$ISSUER_URL\"");
    let discovery = fetch(&format!("{issuer}/.well-known/openid-configuration"));
    assert_eq!(discovery["issuer"], issuer.as_str());
    let keys = fetch(discovery["jwks_uri"].as_str().expect("a URL"));
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_admin_listener_is_where_it_is_said_to_be() {
    let demo = Demo::shared();
    let script = "curl --silent --fail \"$ADMIN_URL/healthz\"; curl --silent --fail \"$ADMIN_URL/metrics\"";
    let said = demo.prints(script);
    assert!(said.starts_with("ok\n") && said.contains("pgusher_findings"), "{said}");
}

#[test]
fn an_application_has_the_variables_of_the_env_file_and_ends_with_the_demo() {
    let command =
        r#"trap 'echo goodbye; exit' TERM; echo "app: $APP_URL $HTTP_URL $DATABASE_URL $ALICE"; sleep 600 & wait"#;
    let mut demo = Demo::start_with_app(8, command);
    let told = demo.prints(r#"echo "app: $APP_URL $HTTP_URL $OWNER_URL $ALICE""#);
    assert_eq!(format!("{}\n", demo.says("app: ")), told);
    assert!(told.starts_with("app: http://127.0.0.1:8 http://127.0.0.1:"), "{told}");

    // This is also the end of everything that has written to its output: whoever has it open would be waited for.
    assert_eq!(demo.interrupt(), Some(0));
}

#[test]
fn a_demo_outlives_its_application() {
    let mut demo = Demo::start_with_app(8, "exit 7");
    demo.says("The application (exit 7) has ended with status 7; the demo goes on.");
    assert_eq!(demo.prints(&format!("PGPASSWORD=$ALICE {PSQL} {TASKS}")), ALICES);
    assert_eq!(demo.interrupt(), Some(0));
}

/// A document by HTTP.
fn fetch(url: &str) -> Value {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(host).expect("a server");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("a socket");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    let (_, body) = response.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn its_configuration_passes_the_check_without_a_warning() {
    let said = Demo::shared().prints("\"$PGUSHER\" config check --config \"$CONFIG\"");
    assert!(said.ends_with("proxy.toml is right; providers: 1, roles: 2\n") && !said.contains("warning"), "{said}");
}

#[test]
fn a_minted_token_carries_the_claims_and_the_role_it_was_asked_for() {
    let demo = Demo::shared();
    let mint = "\"$PGUSHER\" token mint --config \"$CONFIG\" --sub dave";
    let claims = "-c \"select auth.user_id(), auth.session() ->> 'tenant', auth.session() -> 'level'\"";
    let script = format!("PGPASSWORD=$({mint} --claim 'tenant=\"acme\"' --claim level=3 --ttl 1min) {PSQL} {claims}");
    assert_eq!(demo.prints(&script), "dave|acme|3\n");

    let told = demo.complains(&format!("PGPASSWORD=$({mint} --role anonymous) {PSQL} {TASKS}"));
    assert!(told.contains("the token does not name the role \"authenticated\""), "{told}");
}

#[test]
fn a_token_is_explained_as_a_login_would_judge_it() {
    let demo = Demo::shared();
    for (token, code, said) in [
        ("$ALICE", 0, ["ACCEPTED\n", "\"sub\":\"alice\""]),
        ("$EXPIRED", 1, ["REFUSED: the token expired at", "none of it verified"]),
        ("$FORGED", 1, ["REFUSED: provider demo: the signature does not match", "none of it verified"]),
        ("--role anonymous $ALICE", 1, ["REFUSED: provider demo does not grant the role \"anonymous\"", "alice"]),
    ] {
        let output = demo.shell(&format!("\"$PGUSHER\" token explain --config \"$CONFIG\" {token}"));
        let text = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(said.iter().all(|words| text.contains(words)), "{text}");
    }
}

#[test]
fn a_token_can_be_explained_without_standing_in_the_command_line() {
    let said = Demo::shared().prints("echo \"$ALICE\" | \"$PGUSHER\" token explain --config \"$CONFIG\" -");
    assert!(said.starts_with("ACCEPTED\n"), "{said}");
}

#[test]
fn a_token_is_explained_in_any_directory_by_the_demo_that_runs() {
    let mut demo = Demo::start(|_, _| ());
    let explain = "\"$PGUSHER\" token explain \"$(\"$PGUSHER\" token mint --sub erin)\"";
    let clone = concat!("cd ", env!("CARGO_MANIFEST_DIR"), "/..");
    let said = demo.prints(&format!("{clone}; {explain}"));
    assert!(said.starts_with("ACCEPTED\n  provider  demo\n"), "{said}");

    let told = demo.complains(&format!("{clone}; {explain} --config proxy.toml"));
    assert!(told.contains("proxy.toml"), "{told}");
    let token = demo.prints("printf %s \"$ALICE\"");
    assert_eq!(demo.interrupt(), Some(0));
    let told = demo.complains(&format!("{clone}; \"$PGUSHER\" token explain {token}"));
    assert!(told.contains("proxy.toml"), "{told}");
}

#[test]
fn ctrl_c_ends_it_with_nothing_left() {
    let mut demo = Demo::start(|_, _| ());
    let said = demo.prints(&format!(". '{}/env'; printf '%s\\n' \"$CONFIG\" \"$OWNER_URL\"", demo.files().display()));
    let [config, owner] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
    let minted = "PGPASSWORD=$(\"$PGUSHER\" token mint --sub erin)";
    assert_eq!(demo.prints(&format!("{minted} {PSQL} -c 'select auth.user_id()'")), "erin\n");

    assert_eq!(demo.interrupt(), Some(0));

    assert!(!Path::new(config).parent().expect("a directory").exists());
    assert!(!demo.files().join("env").exists());
    let told = demo.complains(&format!("{PSQL} '{owner}'"));
    assert!(told.contains("Connection refused"), "{told}");
    let told = demo.complains("\"$PGUSHER\" token mint --sub erin");
    assert!(told.contains("no demo is running"), "{told}");
}

#[test]
fn kept_data_is_there_at_the_next_start() {
    let data = Scratch::new("tests").expect("a directory");
    let keep = |command: &mut Command, _: &Path| {
        command.arg("--data").arg(data.path());
    };
    let mut first = Demo::start(keep);
    first.prints(&format!("PGPASSWORD=$ALICE {PSQL} -c \"insert into todos (task) values ('Come again')\""));
    assert_eq!(first.interrupt(), Some(0));

    let mut second = Demo::start(keep);

    let tasks = second.prints(&format!("PGPASSWORD=$ALICE {PSQL} {TASKS}"));
    assert_eq!(tasks, format!("{}, alice: Come again\n", ALICES.trim_end()));
    assert_eq!(second.interrupt(), Some(0));
}

#[test]
fn two_run_side_by_side_and_the_tokens_of_one_do_not_open_the_other() {
    let (one, other) = (Demo::shared(), Demo::start(|_, _| ()));
    let token = other.prints("printf %s \"$ALICE\"");
    assert_eq!(other.prints(&format!("PGPASSWORD=$ALICE {PSQL} {TASKS}")), ALICES);

    let told = one.complains(&format!("PGPASSWORD={token} {PSQL} {TASKS}"));

    assert!(told.contains("no provider has the issuer"), "{told}");
}

#[test]
fn it_works_for_a_plain_user() {
    let user = unprivileged();
    let set_user = |command: &mut Command| {
        // Only root can become somebody else, and whoever is not root is a plain user already.
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
    };
    let home = Scratch::new("tests").expect("a directory");
    chown(home.path(), user, user).expect("a home");
    let program = home.path().join("pgusher");
    // Not by this process: what other tests start meanwhile inherits its open files for a moment, and a program that
    // somebody has open for writing does not run.
    let copied = Command::new("cp").args([binary(), &program]).status();
    assert!(copied.expect("cp runs").success(), "a program that everybody may run");

    let demo = Demo::start(|command, files| {
        chown(files, user, user).expect("a directory");
        command.env("PGUSHER", &program).env_remove("XDG_STATE_HOME").env("HOME", home.path());
        set_user(command);
    });

    let minted = "PGPASSWORD=$(\"$PGUSHER\" token mint --sub erin)";
    let mut script = demo.script(&format!("{minted} {PSQL} -c 'select auth.user_id()'"));
    set_user(script.env("PGUSHER", &program).env_remove("XDG_STATE_HOME").env("HOME", home.path()));
    assert_eq!(String::from_utf8(script.output().expect("a shell").stdout).as_deref(), Ok("erin\n"));
}

/// The id of `nobody`, for root; else none.
fn unprivileged() -> Option<u32> {
    let scratch = Scratch::new("tests").expect("a directory");
    let own = scratch.path().metadata().expect("a directory").uid();
    let id = Command::new("id").args(["-u", "nobody"]).output().expect("id runs").stdout;
    (own == 0).then(|| String::from_utf8_lossy(&id).trim().parse().expect("there is a user nobody"))
}

#[test]
fn what_keeps_the_proxy_from_starting_is_told_before_any_welcome() {
    for (variable, value, code, words) in [
        (
            "PGUSHER_POOL__POOL_MODE",
            "statement",
            78,
            "error: environment variable PGUSHER_POOL__POOL_MODE: pool.pool_mode",
        ),
        ("PGUSHER_UPSTREAM__PORT", "1", 69, "error: upstream, database neondb, login pgusher_"),
    ] {
        let scratch = Scratch::new("tests").expect("a directory");
        let env_file = scratch.path().join("env");
        let mut command = Command::new(binary());
        command.args(Demo::arguments()).arg("--env-file").arg(&env_file).env(variable, value);

        let demo = command.output().expect("it runs");

        let told = String::from_utf8_lossy(&demo.stderr);
        assert_eq!(demo.status.code(), Some(code), "{told}");
        assert!(told.contains(words) && !told.contains("error: error:"), "{told}");
        assert!(demo.stdout.is_empty() && !env_file.exists());
    }
}
