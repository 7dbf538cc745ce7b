//! The user that Postgres runs as. Postgres refuses to run as root, so root hands it to an account without privileges.

use std::io;
use std::os::unix::fs::chown;
use std::path::Path;

use tokio::process::Command;

/// Accounts that root may hand Postgres to, the one that its packages create first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Who runs Postgres and owns its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// Whoever runs this program.
    Own,
    /// We are root: this one.
    Other { name: String, uid: u32, gid: u32 },
}

impl Account {
    /// Whoever runs this program, unless that is root; then the first of [`UNPRIVILEGED`] that exists.
    pub(super) async fn choose() -> io::Result<Self> {
        if id(&["-u"]).await? != Some(0) {
            return Ok(Self::Own);
        }
        for name in UNPRIVILEGED {
            if let (Some(uid), Some(gid)) = (id(&["-u", name]).await?, id(&["-g", name]).await?) {
                let name = name.into();
                return Ok(Self::Other { name, uid, gid });
            }
        }
        Err(io::Error::other(format!(
            "Postgres does not run as root, and there is no user {} to run it as",
            UNPRIVILEGED.join(" or ")
        )))
    }

    /// A command that runs as this account, in a directory that every account can enter.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // A Ctrl-C in the terminal is for us: the server must outlive the connections that we end in order.
        command.current_dir("/").process_group(0);
        if let Self::Other { uid, gid, .. } = self {
            // The standard library also drops root's supplementary groups when it changes the user.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// What to look at when a program of this account fails on files below `home`. Empty if there is nothing special.
    pub(super) fn hint(&self, home: &Path) -> String {
        match self {
            Self::Own => String::new(),
            Self::Other { name, .. } => {
                format!("Postgres runs as user {name}, who must be able to enter {}", home.display())
            }
        }
    }

    /// Gives a file or directory to this account.
    pub(super) fn own(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => chown(path, Some(*uid), Some(*gid)),
        }
    }
}

/// What `id` answers; it asks the same sources as the rest of the system, which reading /etc/passwd would not.
/// `None` if there is no such user.
async fn id(arguments: &[&str]) -> io::Result<Option<u32>> {
    let output = Command::new("id").args(arguments).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.trim().parse().ok().filter(|_| output.status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn postgres_never_runs_as_root() {
        let account = Account::choose().await.unwrap();
        let output = account.command(Path::new("id")).arg("-u").output().await.unwrap();
        assert_ne!(String::from_utf8_lossy(&output.stdout).trim(), "0");
    }

    #[tokio::test]
    async fn an_unknown_user_has_no_id() {
        assert_eq!(id(&["-u", "no-such-user-here"]).await.unwrap(), None);
    }
}
