//! `[[role]]`: the roles that clients may get, and the login that reaches each of them.

use upstream::{Login, Password};

use super::secret::{self, Secret};
use super::section::{Placed, Section};

/// What Postgres keeps of a name: `NAMEDATALEN` less its terminator. It would cut the rest off in silence.
const LONGEST_NAME: usize = 63;

/// One `[[role]]`: a role, and the login that serves it and no other, with what is known of its password.
pub(super) struct Role<P> {
    pub(super) name: String,
    pub(super) login: String,
    pub(super) password: Option<P>,
}

impl Role<Password> {
    pub(super) fn login(self) -> (String, Login) {
        (self.name, Login { user: self.login, password: self.password })
    }
}

/// Reads every `[[role]]`; each comes with the place of its name.
pub(super) fn read(sections: Vec<Section<'_>>) -> Vec<Placed<Role<Password>>> {
    read_with(sections, |section| {
        let (key, password) = secret::read_made(section, "password")?;
        if password.contains('\0') {
            section.error(&key, "a password has no zero byte");
        }
        Some(Password::new(password))
    })
}

/// Reads every `[[role]]`, whether there is its password or not.
pub(super) fn find(sections: Vec<Section<'_>>) -> Vec<Placed<Role<Secret>>> {
    read_with(sections, |section| secret::find(section, "password").map(|(_, secret)| secret))
}

fn read_with<P>(
    mut sections: Vec<Section<'_>>,
    password: impl Fn(&mut Section<'_>) -> Option<P>,
) -> Vec<Placed<Role<P>>> {
    let roles: Vec<_> = sections.iter_mut().map(|section| read_one(section, &password)).collect();
    let named = || roles.iter().flatten();
    for (index, (section, role)) in sections.iter().zip(&roles).enumerate() {
        let Some(role) = role else { continue };
        let earlier = || roles[..index].iter().flatten();
        if earlier().any(|other| other.name == role.name) {
            section.error("name", format!("there is another [[role]] {:?}", role.name));
        }
        // A login is a member of one role only. With two, `SET ROLE` would lead from one to the other.
        if let Some(other) = earlier().find(|other| other.login == role.login) {
            section.error("login", format!("it serves the role {:?} already; each role needs its own", other.name));
        }
        if named().any(|other| other.name == role.login) {
            section.error("login", "clients get this role; the login must be another one");
        }
    }
    let placed = sections.iter().zip(roles).map(|(section, role)| Some(section.placed("name", role?)));
    placed.flatten().collect()
}

fn read_one<P>(section: &mut Section<'_>, password: impl Fn(&mut Section<'_>) -> Option<P>) -> Option<Role<P>> {
    let name = read_name(section, "name");
    let login = read_name(section, "login");
    let password = password(section);
    section.finish();
    Some(Role { name: name?, login: login?, password })
}

/// The name of a role, where Postgres can have one of that name.
pub(super) fn read_name(section: &mut Section<'_>, key: &str) -> Option<String> {
    let name = section.required_text(key)?;
    match role_error(&name) {
        None => Some(name),
        Some(message) => {
            section.error(key, message);
            None
        }
    }
}

/// Why no role can have this name.
pub(super) fn role_error(name: &str) -> Option<String> {
    let reserved = matches!(name, "none" | "public");
    identifier_error(name).or_else(|| reserved.then(|| format!("Postgres reserves the name {name:?}")))
}

/// Why nothing in a database can have this name.
pub(super) fn identifier_error(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("a name is expected".into())
    } else if name.len() > LONGEST_NAME {
        Some(format!("Postgres's names have at most {LONGEST_NAME} bytes, and this one has {}", name.len()))
    } else {
        name.contains('\0').then(|| "a name has no zero byte".into())
    }
}
