//! Another signing key, while the proxy runs. Between the two steps, both keys are in force: proxies are started again with
//! the new one, one after the other, and none of their sessions is refused.

use sql::{add_key, kid, retire_other_keys};

use super::database::Database;
use super::secrets::{Secrets, replace};
use super::{Error, Session, print};
use crate::config::signing_key;
use crate::random::random_hex;

const ROTATED: &str = "\
done. Now, in this order:
  pgusher setup --apply                in every other database that the file is for, which do not know the new key yet
  start every pgusher again, each with this file
  pgusher setup --retire-keys --apply  in every database
";

/// Gives the database a new key beside those that it has, and then puts it into the file. In this order, because a proxy
/// that starts meanwhile must find the key of its file in the database.
pub(super) async fn rotate(session: &Session<'_>, database: &Database, secrets: &Secrets) -> Result<(), Error> {
    let old = needs_key(secrets)?;
    let file = secrets
        .key_file()
        .ok_or_else(|| Error::Unfit("[claims] has secret_env: only a file can be given another key".into()))?;
    let text = random_hex(old.len());
    let new = signing_key(&text).expect("random_hex makes two digits of a byte");
    let parts = [add_key(&new)];
    let preview = session.preview(database, &parts).await?;
    if !preview.has_valid(&kid(&old)) {
        return Err(Error::Unfit(format!("{database} does not go by the key of {}: run setup first", file.display())));
    }
    print(&preview.to_string())?;
    print(&format!("  ~ file {}: key {} -> key {}\n", file.display(), kid(&old), kid(&new)))?;
    session.ask(&format!("Do this in {database}?"))?;
    database.apply(&parts).await?;
    replace(file, &text).map_err(|source| Error::Secret { file: file.display().to_string(), source })?;
    print(ROTATED)
}

/// Retires every key but the file's.
pub(super) async fn retire(session: &Session<'_>, database: &Database, secrets: &Secrets) -> Result<(), Error> {
    let key = needs_key(secrets)?;
    let parts = [retire_other_keys(&kid(&key))];
    let preview = session.preview(database, &parts).await?;
    if !preview.has_valid(&kid(&key)) {
        let place = secrets.key_place();
        return Err(Error::Unfit(format!("{database} does not go by the key of {place}: no other is retired")));
    }
    print(&preview.to_string())?;
    if preview.changes.is_empty() {
        return print("no other key is in force: nothing to do\n");
    }
    session
        .ask(&format!("Do this in {database}? A pgusher that still runs with another key is refused from then on."))?;
    database.apply(&parts).await?;
    print("done\n")
}

fn needs_key(secrets: &Secrets) -> Result<[u8; 32], Error> {
    secrets
        .key()
        .ok_or_else(|| Error::Unfit("there is no signing key: [claims] has none, or its file is missing".into()))
}
