//! The files of a private server: its data directory, who may connect, and the place of its socket. All belong to the
//! account that the server runs as.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Options, PostgresError, SUPERUSER, failed_to};
use crate::demo::account::Account;
use crate::demo::home::Scratch;
use crate::demo::programs::Programs;

/// Who may connect unless [`Options::hba`] says otherwise: everybody with a password.
const HBA: &str = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// The longest path of a Unix socket that every system takes (macOS: 103 bytes, Linux: 107).
const LONGEST_SOCKET: usize = 103;

/// Makes everything in `home` that the server reads.
pub(super) async fn prepare(
    programs: &Programs,
    account: &Account,
    home: &Path,
    options: &Options,
) -> Result<(), PostgresError> {
    if !home.exists() {
        let made = DirBuilder::new().mode(0o700).create(home);
        made.and_then(|()| account.own(home)).map_err(failed_to("make Postgres's home"))?;
    }
    let hba = format!("{}\n{HBA}", options.hba.join("\n"));
    let files = options.files.iter().map(|(name, content)| (&**name, &**content));
    for (name, content) in files.chain([("pg_hba.conf", hba.as_bytes())]) {
        write_for(account, &home.join(name), content).map_err(failed_to("write Postgres's files"))?;
    }
    if home.join("data/PG_VERSION").exists() {
        return Ok(());
    }
    initdb(programs, account, home, &options.password).await
}

async fn initdb(programs: &Programs, account: &Account, home: &Path, password: &str) -> Result<(), PostgresError> {
    let password_file = home.join("initdb.password");
    write_for(account, &password_file, password.as_bytes()).map_err(failed_to("write Postgres's files"))?;
    let output = account
        .command(&programs.program("initdb"))
        .arg("-D")
        .arg(home.join("data"))
        .args(["--username", SUPERUSER, "--auth", "scram-sha-256"])
        .args(["--encoding", "UTF8", "--no-locale", "--no-sync"])
        .arg("--pwfile")
        .arg(&password_file)
        .output()
        .await
        .map_err(failed_to("run initdb"))?;
    fs::remove_file(&password_file).map_err(failed_to("remove the password's file"))?;
    if output.status.success() {
        return Ok(());
    }
    let output = format!("{}{}", String::from_utf8_lossy(&output.stderr), account.hint(home));
    Err(PostgresError::Failed { program: "initdb", output })
}

/// The socket's directory: `home` itself, unless the path would be too long for a socket.
pub(super) fn socket_directory(home: &Path, account: &Account) -> io::Result<(PathBuf, Option<Scratch>)> {
    if home.as_os_str().len() + "/.s.PGSQL.65535".len() <= LONGEST_SOCKET {
        return Ok((home.into(), None));
    }
    let scratch = Scratch::new("sockets")?;
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o700))?;
    account.own(scratch.path())?;
    Ok((scratch.path().into(), Some(scratch)))
}

/// Writes a file that only `account` may read; the server insists on that for a TLS key.
fn write_for(account: &Account, path: &Path, content: &[u8]) -> io::Result<()> {
    create_private(path)?.write_all(content)?;
    account.own(path)
}

/// A new file in the place of any old one. The directory is another account's: what lies there is not followed.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
}
