//! `pgusher setup`: makes a database fit for the proxy, or prints, compares, removes what that takes.
//!
//! What is to be is text of the crate `sql`. To tell what it would change, it is run in a transaction that is rolled back,
//! with the database's state taken before and behind it ([`Database::preview`]): no second list of what setup does could
//! fall behind the first. `--apply` shows that and asks; `--verify` shows it and says whether there was anything.

use std::io::{self, IsTerminal, Write};

use sql::{Identity, Part, ServedRole, Setup};

use crate::cli::{SetupArgs, SetupTask};
use crate::config::{ClaimsWord, ConfigErrors, Overrides, SetupConfig};
use crate::owner::{Owner, OwnerError};
use database::{Database, Preview, ScriptError};
use logins::Standing;
use secrets::Secrets;

mod changes;
mod database;
mod keys;
mod logins;
mod secrets;

/// Why a setup failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The owner cannot connect.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The database refused a part.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A secret's file cannot be made.
    #[error("cannot write {file}: {source}")]
    Secret {
        /// Which one.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input or output is gone.
    #[error("cannot talk: {0}")]
    Talk(#[source] io::Error),
    /// Nobody can be asked.
    #[error("there is no terminal to ask at: say --yes, or look at it first without --apply")]
    NoTerminal,
    /// The answer was a no.
    #[error("nothing was changed")]
    Declined,
    /// What was asked for does not go with the configuration.
    #[error("{0}")]
    Unfit(String),
    /// The differences were printed.
    #[error("the database differs from what setup would make")]
    Differs,
}

/// Who is to blame for an [`Error`], for the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The command line.
    Usage,
    /// The configuration.
    Config,
    /// The database is out of reach.
    Unavailable,
    /// It was asked whether the database differs, and it does.
    Differs,
    /// Anything else.
    Failed,
}

impl Error {
    /// Who is to blame.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Config(_) => Blame::Config,
            Self::Owner(OwnerError::Url(_) | OwnerError::Tls(_)) | Self::NoTerminal => Blame::Usage,
            Self::Owner(_) => Blame::Unavailable,
            Self::Differs => Blame::Differs,
            Self::Script(_) | Self::Secret { .. } | Self::Talk(_) | Self::Declined | Self::Unfit(_) => Blame::Failed,
        }
    }
}

/// Does what the arguments ask for.
///
/// # Errors
/// [`Error`]; nothing was changed then but files of secrets, which another run takes as they are.
pub async fn run(args: &SetupArgs) -> Result<(), Error> {
    if args.apply && !args.yes && !io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let overrides = Overrides::of_process(&args.config.set);
    let (config, warnings) = SetupConfig::load(&args.config.config, &overrides)?;
    for warning in warnings {
        tell(&format!("warning: {warning}"))?;
    }
    let owner = args.url.as_ref().map(|url| Owner::parse(url, &config.upstream, &overrides)).transpose()?;
    let database = match owner {
        Some(owner) => Some(Database::connect(owner).await?),
        None => None,
    };
    let way = choose(config.claims.mode, database.as_ref()).await?;
    if way == Way::Signed && config.claims.secret.is_none() {
        return Err(Error::Unfit("[claims] needs secret_file: the key that signs claims, which setup makes".into()));
    }
    let mut secrets = Secrets::of(&config, way);
    let session = Session { args, config: &config, way };
    match (args.task(), &database) {
        (SetupTask::RotateKey, Some(database)) => keys::rotate(&session, database, &secrets).await,
        (SetupTask::RetireKeys, Some(database)) => keys::retire(&session, database, &secrets).await,
        (SetupTask::Remove, Some(database)) if args.apply => session.remove(database).await,
        (SetupTask::Remove, _) => print(&sql::script(&session.removal())),
        (SetupTask::Verify, Some(database)) => session.verify(database, &secrets).await,
        (SetupTask::Make, Some(database)) if args.apply => session.apply(database, &mut secrets).await,
        (SetupTask::Make, _) => session.print(&mut secrets),
        // The command line has seen to it that there is a URL.
        (SetupTask::RotateKey | SetupTask::RetireKeys | SetupTask::Verify, None) => {
            Err(Error::Unfit("this needs --url".into()))
        }
    }
}

/// The way by which the database gets to know whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Signed,
    Extension,
    Plain,
}

/// Where it is open, a database has a say: what it has already, and else the stronger way, if it can have that.
async fn choose(mode: ClaimsWord, database: Option<&Database>) -> Result<Way, Error> {
    match (mode, database) {
        (ClaimsWord::Claims, _) => Ok(Way::Plain),
        (ClaimsWord::PgSessionJwt, _) => Ok(Way::Extension),
        (ClaimsWord::Auto, Some(database)) if database.prefers_extension().await? => Ok(Way::Extension),
        (ClaimsWord::Signed | ClaimsWord::Auto, _) => Ok(Way::Signed),
    }
}

/// What all tasks share.
struct Session<'a> {
    args: &'a SetupArgs,
    config: &'a SetupConfig,
    way: Way,
}

impl Session<'_> {
    /// Prints the script. Secrets that are missing are made on demand only, for a file is nothing that printing leaves.
    fn print(&self, secrets: &mut Secrets) -> Result<(), Error> {
        if self.args.write_secrets {
            for file in secrets.make()? {
                tell(&format!("made {file}"))?;
            }
        }
        for file in secrets.missing() {
            tell(&format!("{file} is not there: printed without it; --write-secrets makes it"))?;
        }
        let verifiers = secrets.verifiers(|_| true);
        let key = secrets.key();
        print(&sql::script(&self.parts(key.as_ref(), &verifiers)))?;
        if key.is_some() {
            tell("the script has the signing key in it: keep it as safe as the key's file")?;
        }
        Ok(())
    }

    async fn apply(&self, database: &Database, secrets: &mut Secrets) -> Result<(), Error> {
        secrets.invent();
        let standings = logins::look(database, secrets).await?;
        let stale = |login: &str| standings.get(login) != Some(&Standing::Right);
        let verifiers = secrets.verifiers(stale);
        let parts = self.parts(secrets.key().as_ref(), &verifiers);
        let mut preview = self.preview(database, &parts).await?;
        let stale = [Standing::Missing, Standing::Wrong, Standing::Unknown];
        preview.changes.extend(secrets.password_changes(&standings, &stale));
        self.insist_on_valid_key(database, secrets, &preview)?;
        let files = secrets.invented();
        if preview.changes.is_empty() && files.is_empty() {
            print(&preview.to_string())?;
            return print(&format!("{database} is as setup would make it: nothing to do\n"));
        }
        print(&preview.to_string())?;
        for file in files {
            print(&format!("  + file {file}, for you alone to read\n"))?;
        }
        self.ask(&format!("Do this in {database}?"))?;
        secrets.write()?;
        database.apply(&parts).await?;
        print("done\n")
    }

    async fn verify(&self, database: &Database, secrets: &Secrets) -> Result<(), Error> {
        let standings = logins::look(database, secrets).await?;
        let key = secrets.key();
        let parts = self.parts(key.as_ref(), &[]);
        let mut preview = match self.preview(database, &parts).await {
            Err(Error::Script(error)) if error.is_difference() => {
                print(&format!("  ! {error}\n"))?;
                return Err(Error::Differs);
            }
            preview => preview?,
        };
        preview.changes.extend(secrets.password_changes(&standings, &[Standing::Missing, Standing::Wrong]));
        preview.changes.extend(secrets.missing_changes());
        print(&preview.to_string())?;
        if !preview.changes.is_empty() {
            return Err(Error::Differs);
        }
        self.insist_on_valid_key(database, secrets, &preview)?;
        print(&format!("{database} is as setup would make it\n"))
    }

    async fn remove(&self, database: &Database) -> Result<(), Error> {
        let parts = self.removal_of(database.has(self.way).await?);
        let preview = self.preview(database, &parts).await?;
        print(&preview.to_string())?;
        if preview.changes.is_empty() {
            return print(&format!("{database} has nothing of it: nothing to do\n"));
        }
        self.ask(&format!("Remove this from {database}?"))?;
        database.apply(&parts).await?;
        print("done; the files of the secrets stay\n")
    }

    /// With a retired key every session would be refused.
    fn insist_on_valid_key(&self, database: &Database, secrets: &Secrets, preview: &Preview) -> Result<(), Error> {
        match secrets.key().map(|key| sql::kid(&key)) {
            Some(kid) if preview.has_retired(&kid) => Err(Error::Unfit(format!(
                "the key {kid} of {} was retired in {database}: --rotate-key makes another",
                secrets.key_place()
            ))),
            _ => Ok(()),
        }
    }

    async fn preview(&self, database: &Database, parts: &[Part]) -> Result<Preview, Error> {
        Ok(database.preview(parts, &self.config.roles, self.args.schema.as_deref()).await?)
    }

    fn parts(&self, key: Option<&[u8; 32]>, verifiers: &[Option<String>]) -> Vec<Part> {
        let identity = match self.way {
            Way::Signed => Identity::Signed(key),
            Way::Extension => Identity::Extension,
            Way::Plain => Identity::Plain,
        };
        let roles = self.config.roles.iter().enumerate().map(|(index, role)| ServedRole {
            role: &role.name,
            login: &role.login,
            verifier: verifiers.get(index).and_then(Option::as_deref),
        });
        let roles: Vec<_> = roles.collect();
        self.setup(identity, &roles).parts()
    }

    fn removal(&self) -> Vec<Part> {
        self.removal_of(Some(self.way))
    }

    /// Undoes what there is.
    fn removal_of(&self, there: Option<Way>) -> Vec<Part> {
        let identity = match there {
            Some(Way::Signed) => Identity::Signed(None),
            Some(Way::Extension) => Identity::Extension,
            Some(Way::Plain) | None => Identity::Plain,
        };
        let roles = self.config.roles.iter();
        let roles: Vec<_> =
            roles.map(|role| ServedRole { role: &role.name, login: &role.login, verifier: None }).collect();
        self.setup(identity, &roles).removal()
    }

    fn setup<'a>(&'a self, identity: Identity<'a>, roles: &'a [ServedRole<'a>]) -> Setup<'a> {
        Setup { identity, roles, schema: self.args.schema.as_deref(), harden: self.args.harden }
    }

    /// Asks at the terminal, unless the answer was given with the command.
    fn ask(&self, question: &str) -> Result<(), Error> {
        if self.args.yes {
            return Ok(());
        }
        let mut stderr = io::stderr();
        write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).map_err(Error::Talk)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(Error::Talk)?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Error::Declined) }
    }
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(Error::Talk)
}

/// Beside the output, which may be a script.
fn tell(line: &str) -> Result<(), Error> {
    writeln!(io::stderr(), "{line}").map_err(Error::Talk)
}
