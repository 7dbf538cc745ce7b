//! The demo's random secrets, each in a file of its own beside the configuration.

use std::io;

use sql::ServedRole;

use super::configuration::{CLAIMS_SECRET, ROLES, login, password_file};
use super::home::Home;
use crate::config::signing_key;

/// Random bytes of a password.
const PASSWORD_BYTES: usize = 16;

/// A login role's name and verifier, with the role that it reaches.
struct Login {
    role: &'static str,
    name: String,
    /// What the database gets to know of the password.
    verifier: String,
}

/// Everything that the proxy and the database must agree on.
pub(super) struct Secrets {
    /// The password of the database's owner: hexadecimal digits, which need no quoting anywhere.
    pub(super) owner: String,
    /// The key that signs claims.
    pub(super) claims: [u8; 32],
    logins: Vec<Login>,
}

impl Secrets {
    /// Those of an earlier start of a kept demo, or new ones.
    pub(super) fn read_or_make(home: &Home) -> io::Result<Self> {
        let logins = ROLES.map(|role| {
            let password = home.secret(&password_file(role), PASSWORD_BYTES)?;
            Ok(Login { role, name: login(role), verifier: sql::scram_verifier(&password) })
        });
        Ok(Self {
            owner: home.secret("owner.password", PASSWORD_BYTES)?,
            claims: key(&home.secret(CLAIMS_SECRET, 32)?)?,
            logins: logins.into_iter().collect::<io::Result<_>>()?,
        })
    }

    /// The served roles as the database gets them.
    pub(super) fn served(&self) -> Vec<ServedRole<'_>> {
        self.logins
            .iter()
            .map(|login| ServedRole { role: login.role, login: &login.name, verifier: Some(&login.verifier) })
            .collect()
    }
}

/// The superuser's password; a kept database has it from its first start.
pub(super) fn superuser(home: &Home) -> io::Result<String> {
    home.secret("postgres.password", PASSWORD_BYTES)
}

/// The bytes that 64 hexadecimal digits stand for.
fn key(digits: &str) -> io::Result<[u8; 32]> {
    let key = signing_key(digits);
    key.ok_or_else(|| io::Error::other(format!("{CLAIMS_SECRET} does not hold 64 hexadecimal digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_its_hexadecimal_digits() {
        let digits = format!("00ff{}", "7f".repeat(30));
        let key = key(&digits).unwrap();
        assert_eq!(key[..3], [0x00, 0xff, 0x7f]);
    }

    #[test]
    fn a_damaged_key_file_is_an_error() {
        for digits in ["", "00", &"zz".repeat(32), &"00".repeat(33), &"é".repeat(32)] {
            assert!(key(digits).is_err(), "{digits}");
        }
    }

    #[test]
    fn every_served_role_has_a_login_and_a_password_of_its_own() {
        let home = Home::temporary().unwrap();
        let secrets = Secrets::read_or_make(&home).unwrap();
        let [first, second] = secrets.served()[..] else {
            panic!("two roles are served");
        };
        assert_ne!(first.login, second.login);
        assert_ne!(first.verifier, second.verifier);
    }
}
