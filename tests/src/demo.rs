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
        Self::arguments_at("0")
    }

    fn arguments_at(ports: &str) -> Vec<OsString> {
        let mut arguments = ["demo", "--ports", ports].map(OsString::from).to_vec();
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
        Self::start_at("0", prepare)
    }

    /// One with an application, which has to listen at this port.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_with_app(port: u16, command: &str) -> Self {
        Self::start_at(&format!("0,0,0,{port}"), |demo, _| {
            demo.args(["--app", command]);
        })
    }

    fn start_at(ports: &str, prepare: impl FnOnce(&mut Command, &Path)) -> Self {
        let files = Scratch::new("tests").expect("a directory");
        let env_file = files.path().join("env");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).args(Self::arguments_at(ports)).arg("--env-file").arg(&env_file);
        command.env("PGUSHER", binary()).env("XDG_STATE_HOME", files.path());
        prepare(&mut command, files.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let output = lines(child.stdout.take().expect("a pipe"));
        let welcome = until(&output, |line| line == READY);
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

    /// Waits for a line with these words, after its welcome or the one before, and returns it.
    ///
    /// # Panics
    /// If none comes.
    pub fn says(&self, words: &str) -> String {
        let output = self.output.lock().expect("the output");
        let mut lines = until(&output, |line| line.contains(words));
        lines.pop().filter(|line| line.contains(words)).unwrap_or_else(|| panic!("{words:?} was not said: {lines:#?}"))
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
        until(&self.output.lock().expect("the output"), |_| false);
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

/// Everything up to such a line, or the end of the stream.
fn until(lines: &Receiver<String>, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut received = Vec::new();
    while !received.last().is_some_and(|line: &String| is_last(line)) {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => received.push(line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("waited {PATIENCE:?} for more than {received:#?}"),
        }
    }
    received
}
