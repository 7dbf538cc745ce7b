//! Sets the stage: fills the database, writes everything beside it that the proxy and `token mint` read, and signs the
//! tokens that the user is shown.

use std::env;
use std::time::{Duration, SystemTime};

use super::ISSUER;
use super::announce::Facts;
use super::configuration::{Addresses, proxy_toml};
use super::database::{self, DATABASE, OWNER};
use super::error::{Error, failed_to};
use super::home::{Home, write_private};
use super::issuer::Issuer;
use super::keys::KeyError;
use super::postgres::Postgres;
use super::secrets::Secrets;
use super::token::{Minter, Wish};

/// How long the tokens of alice and bob are valid: a working day, however long.
const WORKING_DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything but the proxy: when this returns, the proxy can be run with the configuration in the result.
pub(super) async fn set(
    home: &Home,
    postgres: &Postgres,
    issuer: &Issuer,
    minter: &Minter,
    addresses: Addresses,
    has_app: bool,
) -> Result<Facts, Error> {
    let secrets = Secrets::read_or_make(home).map_err(failed_to("write the demo's secrets"))?;
    database::set_up(postgres, &secrets.owner, &secrets.claims, &secrets.served()).await?;

    let config = home.path("proxy.toml");
    write_private(&config, &proxy_toml(&addresses, postgres, issuer))
        .and_then(|()| minter.save(&home.path(ISSUER)))
        .map_err(failed_to("write the demo's configuration"))?;

    let [alice, bob, expired, forged] = tokens(minter)?;
    let owner_url = format!("postgres://{OWNER}:{}@127.0.0.1:{}/{DATABASE}", secrets.owner, postgres.port());
    Ok(Facts {
        addresses,
        has_app,
        kid: sql::kid(&secrets.claims),
        alice,
        bob,
        expired,
        forged,
        owner_url,
        issuer_url: issuer.url().into(),
        config,
        program: env::current_exe().map_err(failed_to("find this program"))?,
    })
}

/// Alice's, bob's, one of alice's that has expired, and one in her name that a stranger signed.
fn tokens(minter: &Minter) -> Result<[String; 4], KeyError> {
    let alice = Wish::new("alice", WORKING_DAY);
    let expired = Wish { issued: SystemTime::now() - WORKING_DAY, ..Wish::new("alice", Duration::from_secs(3600)) };
    Ok([
        minter.mint(&alice)?,
        minter.mint(&Wish::new("bob", WORKING_DAY))?,
        minter.mint(&expired)?,
        minter.forge(&alice)?,
    ])
}
