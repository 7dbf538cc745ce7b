//! The startup packet to the server. It is built here and never a client's own, because what stands in it becomes
//! the session's reset values: the role to which `RESET ROLE` and `DISCARD ALL` return, and safe values for what would
//! decide over the login itself, whatever somebody who once held the login role has left behind with `ALTER ROLE … SET`.
//! All else that was left there is looked for when a server comes into a pool ([`open`](crate::pool)).

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;
use wire::startup::MAX_STARTUP_PACKET;

use crate::claims::ClaimsMode;
use crate::error::Error;
use crate::parameters::Parameters;
use crate::session_jwt::{JWK, JWT, SessionKey};

/// What the operator sets where the client says nothing.
const DEFAULTS: [(&str, &str); 12] = [
    ("search_path", "\"$user\", public"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    // With these a login's own questions would be answered by more than anybody reads.
    ("client_min_messages", "notice"),
    // Before its library is loaded, which is later, nobody can be asked for these.
    ("plpgsql.check_asserts", "on"),
    ("plpgsql.extra_errors", "none"),
    ("plpgsql.extra_warnings", "none"),
    ("plpgsql.print_strict_params", "off"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_isolation", "read committed"),
];

/// What nobody sets: without row security, with a library that does not exist, or with claims that a role left in its
/// defaults, a session would be none, or somebody else's.
const FIXED: [(&str, &str); 4] =
    [("row_security", "on"), ("local_preload_libraries", ""), ("pgusher.claims", ""), ("request.jwt.claims", "")];

/// The operator's settings for every session. [`Settings::default`] overrides what a role can do to its own defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings(Vec<(String, String)>);

impl Default for Settings {
    fn default() -> Self {
        Self(DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

impl Settings {
    /// Sets one more, or one of the defaults to another value.
    pub fn set(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(set, _)| *set != name);
        self.0.push((name, value.to_owned()));
    }
}

/// The session that a server connection is to have.
#[derive(Clone, Debug)]
pub struct Startup<'a> {
    /// The database.
    pub database: &'a str,
    /// The role to serve; the login must be a member of it, or be it.
    pub role: &'a str,
    /// What the operator sets.
    pub settings: &'a Settings,
    /// What the client sets; it goes before the operator's.
    pub parameters: &'a Parameters,
    /// Which way it is to be told whose it is.
    pub claims: &'a ClaimsMode,
}

impl Startup<'_> {
    /// A key for a server whose database may want one.
    pub(crate) fn key(&self) -> Option<SessionKey> {
        matches!(self.claims, ClaimsMode::SessionJwt | ClaimsMode::Auto(_)).then(SessionKey::draw)
    }

    /// The packet that logs `user` in. As keys of their own, rather than in `options`, values need no escaping.
    pub(crate) fn packet(&self, user: &str, key: Option<&SessionKey>) -> Result<Bytes, Error> {
        let own = [("user", user), ("database", self.database), ("role", self.role)];
        let settings = self.settings.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // Of a name that comes twice Postgres takes the last. None does: that would be a bet on its order.
        let settings = settings.filter(|(name, _)| self.parameters.get(name).is_none() && !is_fixed(name));
        let jwk = key.map(SessionKey::jwk);
        let jwk = jwk.iter().map(|jwk| (JWK, jwk.as_str()));
        let all = own.into_iter().chain(settings).chain(self.parameters.iter()).chain(FIXED).chain(jwk);
        write_packet(all)
    }
}

/// A startup packet of protocol 3.0.
pub(crate) fn write_packet<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Bytes, Error> {
    let mut packet = BytesMut::new();
    frontend::startup_message(parameters, &mut packet).map_err(|error| Error::Startup(error.to_string()))?;
    if packet.len() > MAX_STARTUP_PACKET as usize {
        return Err(Error::Startup(format!("{} bytes are more than Postgres takes", packet.len())));
    }
    Ok(packet.freeze())
}

fn is_fixed(name: &str) -> bool {
    FIXED.iter().any(|(fixed, _)| *fixed == name) || [JWK, JWT].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::startup::{FirstPacket, parse_first_packet};

    fn startup(settings: &Settings, parameters: &Parameters) -> Result<wire::startup::Startup, Error> {
        packet_for(&ClaimsMode::SessionJwt, settings, parameters)
    }

    fn packet_for(
        claims: &ClaimsMode,
        settings: &Settings,
        parameters: &Parameters,
    ) -> Result<wire::startup::Startup, Error> {
        let startup = Startup { database: "app", role: "authenticated", settings, parameters, claims };
        let packet = startup.packet("pgusher_authenticated", startup.key().as_ref())?;
        match parse_first_packet(&packet.slice(4..)) {
            Ok(FirstPacket::Startup(startup)) => Ok(startup),
            other => panic!("a startup packet: {other:?}"),
        }
    }

    fn count(startup: &wire::startup::Startup, name: &str) -> usize {
        startup.parameters.iter().filter(|(set, _)| set.eq_ignore_ascii_case(name)).count()
    }

    #[test]
    fn the_login_logs_in_and_the_role_is_served() {
        let packet = startup(&Settings::default(), &Parameters::default()).unwrap();

        assert_eq!(packet.get("user"), Some("pgusher_authenticated"));
        assert_eq!(packet.get("database"), Some("app"));
        assert_eq!(packet.get("role"), Some("authenticated"));
        assert_eq!(packet.get("local_preload_libraries"), Some(""));
    }

    #[test]
    fn the_client_goes_before_the_operator_and_every_name_comes_once() {
        let mut settings = Settings::default();
        settings.set("Statement_Timeout", "30s");
        settings.set("lock_timeout", "5s");
        let parameters = Parameters::parse([("Lock_Timeout", "1s")]).unwrap();

        let packet = startup(&settings, &parameters).unwrap();

        assert_eq!(packet.get("statement_timeout"), Some("30s"));
        assert_eq!(packet.get("lock_timeout"), Some("1s"));
        for (name, _) in &packet.parameters {
            assert_eq!(count(&packet, name), 1, "{name}");
        }
    }

    #[test]
    fn nobody_sets_what_is_fixed() {
        let mut settings = Settings::default();
        settings.set("row_security", "off");
        settings.set("pg_session_jwt.jwk", "{}");
        settings.set("pg_session_jwt.jwt", "x");

        let packet = startup(&settings, &Parameters::default()).unwrap();

        assert_eq!(packet.get("row_security"), Some("on"));
        assert_eq!(count(&packet, "row_security"), 1);
        assert_eq!((count(&packet, "pg_session_jwt.jwk"), count(&packet, "pg_session_jwt.jwt")), (1, 0));
        assert_ne!(packet.get("pg_session_jwt.jwk"), Some("{}"));
    }

    #[test]
    fn a_key_goes_where_the_extension_may_be_used_and_never_twice_the_same() {
        let jwk = |mode: &ClaimsMode| {
            let packet = packet_for(mode, &Settings::default(), &Parameters::default()).unwrap();
            packet.get("pg_session_jwt.jwk").map(str::to_owned)
        };
        for mode in [ClaimsMode::SessionJwt, ClaimsMode::Auto(None)] {
            assert!(jwk(&mode).is_some() && jwk(&mode) != jwk(&mode), "{mode:?}");
        }
        // With a key the extension reads no plain claims.
        assert_eq!(jwk(&ClaimsMode::Claims), None);
    }

    #[test]
    fn a_packet_that_postgres_would_drop_is_refused() {
        let parameters = Parameters::parse([("search_path", &*"x".repeat(9_900))]).unwrap();
        assert!(matches!(startup(&Settings::default(), &parameters), Err(Error::Startup(_))));
    }
}
