//! `pgusher demo` as a process, and what it told its user.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};

use pgusher::demo::home::Scratch;

use crate::proxy::binary;
use crate::wait::PATIENCE;

/// Becomes the demo, with one stream for all output, and has it interrupted when standard input is closed, which happens
/// however the tests end.
const SCRIPT: &str = r#"exec 3<&0; (read -r _ <&3; kill -s INT $$) >/dev/null 2>&1 & exec "$PGUSHER" "$@" 3<&- 2>&1"#;

/// The last line of the welcome.
const READY: &str = "Ctrl-C ends the demo.";

/// A running demo; interrupted when dropped.
pub struct Demo {
    child: Child,
    _lifeline: ChildStdin,
    output: Mutex<Receiver<String>>,
    welcome: Vec<String>,
    assignments: String,
    files: Option<Scratch>,
}

impl Demo {
    /// One for all tests that change nothing in it.
    pub fn shared() -> &'static Self {
        static DEMO: OnceLock<Demo> = OnceLock::new();
        // Nothing that stays for the life of the process is removed at its end.
        DEMO.get_or_init(|| Self { files: None, ..Self::start(|_, _| ()) })
    }

    /// The command with free ports, and the Postgres that the suite runs with.
    pub fn arguments() -> Vec<OsString> {
        let mut arguments = ["demo", "--ports", "0"].map(OsString::from).to_vec();
        if let Some(programs) = std::env::var_os("PGUSHER_TEST_PG_BIN") {
            arguments.extend(["--pg-bin".into(), programs]);
        }
        arguments
    }

    /// Starts one and waits until it is ready. `prepare` may add arguments, and change the environment, in which `PGUSHER`
    /// is the program, and the directory in which the demo has its env file and its state.
    ///
    /// # Panics
    /// If it ends instead, with all that it said.
    pub fn start(prepare: impl FnOnce(&mut Command, &Path)) -> Self {
        let files = Scratch::new("tests").expect("a directory");
        let env_file = files.path().join("env");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).args(Self::arguments()).arg("--env-file").arg(&env_file);
        command.env("PGUSHER", binary()).env("XDG_STATE_HOME", files.path());
        prepare(&mut command, files.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let output = lines(child.stdout.take().expect("a pipe"));
        let welcome = until(&output, Some(READY));
        assert!(welcome.iter().any(|line| line == READY), "the demo ended: {welcome:#?}");
        Self {
            _lifeline: child.stdin.take().expect("a pipe"),
            child,
            output: Mutex::new(output),
            welcome,
            assignments: fs::read_to_string(env_file).expect("the env file of a demo that is ready"),
            files: Some(files),
        }
    }

    /// Its welcome's lines to paste, each with the comment above it.
    pub fn lines(&self) -> Vec<(&str, &str)> {
        let lines = self.welcome.windows(2).filter_map(|pair| Some((pair[0].strip_prefix("# ")?, pair[1].as_str())));
        lines.collect()
    }

    /// The directory of its env file and its state.
    ///
    /// # Panics
    /// For the shared demo, which has none.
    pub fn files(&self) -> &Path {
        self.files.as_ref().expect("a demo of one's own").path()
    }

    /// A shell's script with the variables of the env file, and `PGUSHER`, this program.
    pub fn script(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("set -a\n{}set +a\n{script}", self.assignments)])
            .env("PGUSHER", binary())
            .env("LC_ALL", "C");
        if let Some(files) = &self.files {
            command.env("XDG_STATE_HOME", files.path());
        }
        command
    }

    /// What such a script says, and how it ends.
    pub fn shell(&self, script: &str) -> Output {
        self.script(script).output().expect("a shell")
    }

    /// What such a script, which succeeds, prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn prints(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What such a script, which fails, complains about.
    ///
    /// # Panics
    /// If it succeeds.
    pub fn complains(&self, script: &str) -> String {
        let output = self.shell(script);
        assert!(!output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stderr).expect("text")
    }

    /// Ctrl-C; returns the exit code when the demo has ended.
    pub fn interrupt(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        until(&self.output.lock().expect("the output"), None);
        self.child.wait().expect("a child").code()
    }
}

/// The lines of a stream as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Reads on when nobody listens any more, so that the writer is not held up.
        BufReader::new(stream).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    receiver
}

/// Everything up to this line, or the end of the stream.
fn until(lines: &Receiver<String>, last: Option<&str>) -> Vec<String> {
    let mut received = Vec::new();
    while received.last().map(String::as_str) != last || last.is_none() {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => received.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} for {last:?} after {received:#?}"),
        }
    }
    received
}
