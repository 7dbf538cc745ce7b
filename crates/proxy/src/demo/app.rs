//! The application of `--app`: a command of the user's that runs beside the demo and ends with it, however that ends.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

/// Runs the command of its argument in the process group that the two make up, and says so if it ends. When standard input
/// is closed, which happens however our process ends, the group is asked to end, and in the end killed with whatever
/// the command has left running.
const SUPERVISOR: &str = r#"
stopping=
trap 'stopping=1' TERM
exec 3<&0
/bin/sh -c "$1" </dev/null 3<&- &
app=$!
( trap '' TERM; read -r line <&3; kill -s TERM 0; sleep 5; kill -s KILL 0 ) &
wait "$app"
status=$?
while kill -s 0 "$app" 2>/dev/null; do wait "$app"; status=$?; done
[ -n "$stopping" ] || echo "The application ($1) has ended with status $status; the demo goes on." >&2
kill -s KILL 0
"#;

/// How long [`App::stop`] waits: beyond the supervisor's five seconds.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A running application, or what is left of it. Told to end when dropped.
#[derive(Debug)]
pub(super) struct App {
    supervisor: Child,
    lifeline: ChildStdin,
}

impl App {
    /// Starts a command by the shell, with these variables in its environment.
    pub(super) fn start(command: &str, variables: Vec<(&str, String)>) -> io::Result<Self> {
        let mut supervisor = Command::new("/bin/sh");
        // A Ctrl-C in the terminal is for us: we end it.
        supervisor.args(["-c", SUPERVISOR, "sh", command]).envs(variables).process_group(0);
        let mut supervisor = supervisor.stdin(Stdio::piped()).spawn()?;
        let lifeline = supervisor.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { supervisor, lifeline })
    }

    /// Ends it, and waits for that.
    pub(super) async fn stop(mut self) {
        drop(self.lifeline);
        // The supervisor goes on to kill it whether somebody waits or not.
        let _ = timeout(STOP_LIMIT, self.supervisor.wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader, Lines};

    use tokio::task::spawn_blocking;

    use super::super::home::Scratch;
    use super::*;

    /// What an application writes to the pipe `OUT`, which is at its end when nobody is left to write.
    type Output = Lines<BufReader<File>>;

    async fn start(command: &str) -> (App, Scratch, Output) {
        let scratch = Scratch::new("app").unwrap();
        let pipe = scratch.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let app = App::start(command, vec![("OUT", pipe.display().to_string())]).unwrap();
        let output = spawn_blocking(|| BufReader::new(File::open(pipe).unwrap()).lines()).await.unwrap();
        (app, scratch, output)
    }

    async fn until_the_end(output: Output) -> Vec<String> {
        let lines = spawn_blocking(|| output.map(Result::unwrap).collect());
        timeout(Duration::from_secs(30), lines).await.expect("an end").unwrap()
    }

    #[tokio::test]
    async fn an_application_ends_in_order_and_takes_along_what_it_has_started() {
        let command = r#"exec >"$OUT"; trap 'echo in order; exit' TERM; sleep 60 & echo started; wait"#;
        let (app, _scratch, mut output) = start(command).await;
        let (first, output) = spawn_blocking(|| (output.next(), output)).await.unwrap();
        assert_eq!(first.unwrap().unwrap(), "started");

        app.stop().await;

        assert_eq!(until_the_end(output).await, ["in order"]);
    }

    #[tokio::test]
    async fn what_an_application_left_running_ends_with_it() {
        let (_app, _scratch, output) = start(r#"exec >"$OUT"; sleep 60 & echo ended"#).await;
        assert_eq!(until_the_end(output).await, ["ended"]);
    }
}
