//! `--url postgres://owner@host/database?sslmode=…`, in libpq's words:
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use upstream::{
    Address, Binding, ClientCertificate, ConnectConfig, Login, Parameters, Password, RootCertificates, SslMode,
};

use super::OwnerError;
use super::passfile;
use crate::config::{Overrides, Upstream, tls_to};

/// Postgres's own port, for a host that is not the configuration's.
const PORT: u16 = 5432;

/// The words that a URL may have.
const NAMES: [&str; 12] = [
    "user",
    "password",
    "host",
    "port",
    "dbname",
    "connect_timeout",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "application_name",
];

/// Where, and as whom, the owner of a database connects.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Where to, and how.
    pub connect: ConnectConfig,
    /// Who.
    pub login: Login,
    /// The database.
    pub database: String,
    /// What the session sets.
    pub parameters: Parameters,
}

/// What is wrong with a URL. The text has no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl Owner {
    /// Reads a URL. What it leaves out is as in `[upstream]`: the host; and, if it is that very host, the port and the
    /// certificates. Without a password there is `$PGPASSWORD`, and then libpq's password file.
    ///
    /// # Errors
    /// [`OwnerError::Url`] or [`OwnerError::Tls`].
    pub fn parse(url: &str, upstream: &Upstream, environment: &Overrides) -> Result<Self, OwnerError> {
        let variables = environment.variables();
        let mut words = Words::read(url)?;
        let user = words.take("user").ok_or_else(|| wrong("it names no user: postgres://USER@HOST/DATABASE"))?;
        let database = words.take("dbname").unwrap_or_else(|| user.clone());
        let mut connect = words.connect(&upstream.connect)?;
        if let Some(seconds) = words.take("connect_timeout") {
            let seconds = seconds.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
            let timeout = Duration::from_secs(seconds.ok_or_else(|| wrong("connect_timeout is 1 to 3600 seconds"))?);
            (connect.connect_timeout, connect.login_timeout) = (timeout, timeout);
        }
        let given = words.take("password").or_else(|| variables.get("PGPASSWORD").cloned());
        let password = given.or_else(|| {
            let (host, port) = match &connect.address {
                Address::Tcp { host, port } => (host.clone(), port.to_string()),
                Address::Unix(socket) => socket_name(socket)?,
            };
            passfile::find([&host, &port, &database, &user], variables)
        });
        let parameters = words.parameters()?;
        words.finish()?;
        Ok(Self { connect, login: Login { user, password: password.map(Password::new) }, database, parameters })
    }
}

/// A socket's directory and port, as the password file has them.
fn socket_name(socket: &std::path::Path) -> Option<(String, String)> {
    let port = socket.extension()?.to_str()?;
    Some((socket.parent()?.to_str()?.to_owned(), port.to_owned()))
}

fn wrong(message: impl Into<String>) -> UrlError {
    UrlError(message.into())
}

/// What a URL says, under libpq's names for it.
struct Words(BTreeMap<String, String>);

impl Words {
    fn read(url: &str) -> Result<Self, UrlError> {
        let scheme = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = scheme.ok_or_else(|| wrong("it begins with postgres:// or postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = split_port(host)?;

        let mut words = Self(BTreeMap::new());
        for (name, value) in
            [("user", user), ("password", password), ("host", host), ("port", port), ("dbname", database)]
        {
            words.put(name, value)?;
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| wrong(format!("{pair:?} has no value")))?;
            words.put(name, value)?;
        }
        Ok(words)
    }

    /// Keeps a word, decoded, unless it is empty.
    fn put(&mut self, name: &str, value: &str) -> Result<(), UrlError> {
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| wrong(format!("{name} is not UTF-8")))?.into_owned();
        if value.contains('\0') {
            return Err(wrong(format!("{name} has a zero byte")));
        }
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value);
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn connect(&mut self, upstream: &ConnectConfig) -> Result<ConnectConfig, OwnerError> {
        let port = self.take("port").map(|port| port.parse().ok().filter(|port| *port > 0));
        let port: Option<u16> =
            port.map(|port| port.ok_or_else(|| wrong("the port is a number from 1 to 65535"))).transpose()?;
        let mut connect = upstream.clone();
        let same = self.place(&mut connect.address, port)?;
        let mode = self.take("sslmode").map(|mode| mode.parse::<SslMode>().map_err(|error| wrong(error.to_string())));
        let roots = self.take("sslrootcert").map(|roots| match roots.as_str() {
            "system" => RootCertificates::System,
            file => RootCertificates::File(PathBuf::from(file)),
        });
        let client = match (self.take("sslcert"), self.take("sslkey")) {
            (Some(certificate), Some(key)) => {
                Some(ClientCertificate { certificate_file: certificate.into(), key_file: key.into() })
            }
            (None, None) => None,
            _ => return Err(wrong("sslcert and sslkey belong together").into()),
        };
        if let Some(binding) = self.take("channel_binding") {
            connect.binding = binding.parse::<Binding>().map_err(|error| wrong(error.to_string()))?;
        }
        if !same || mode.is_some() || roots.is_some() || client.is_some() {
            connect.tls = tls_to(&connect.address, mode.transpose()?, roots, client.as_ref())?;
        }
        Ok(connect)
    }

    /// Puts the address where the URL has it, and says whether its host is still the one of before.
    fn place(&mut self, address: &mut Address, port: Option<u16>) -> Result<bool, UrlError> {
        let before = address.clone();
        let host = match (self.take("host"), &before) {
            (Some(host), _) if host.contains(',') => return Err(wrong("one host, please")),
            (Some(host), _) => host,
            (None, Address::Tcp { host, .. }) => host.clone(),
            (None, Address::Unix(socket)) => {
                socket.parent().map(|directory| directory.display().to_string()).unwrap_or_default()
            }
        };
        let port_of = |address: &Address| match address {
            Address::Tcp { port, .. } => Some(*port),
            Address::Unix(socket) => socket_name(socket).and_then(|(_, port)| port.parse().ok()),
        };
        let known = port_of(&before).unwrap_or(PORT);
        let same = Address::new(&host, known) == before;
        *address = Address::new(&host, port.unwrap_or(if same { known } else { PORT }));
        Ok(same)
    }

    /// Of what a session can set, its name.
    fn parameters(&mut self) -> Result<Parameters, UrlError> {
        let name = self.take("application_name");
        let set = name.as_deref().map(|name| ("application_name", name));
        Parameters::parse(set).map_err(|error| wrong(error.to_string()))
    }

    fn finish(self) -> Result<(), UrlError> {
        match self.0.into_keys().next() {
            Some(name) => Err(wrong(format!("{name:?} is not supported here; there are {}", NAMES.join(", ")))),
            None => Ok(()),
        }
    }
}

/// Host and port; brackets around a host with colons.
fn split_port(host: &str) -> Result<(&str, &str), UrlError> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or_else(|| wrong("a bracket is not closed"))?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if port.is_empty() => Ok((host, "")),
            None => Err(wrong("behind the bracket a port is expected")),
        };
    }
    Ok(host.split_once(':').unwrap_or((host, "")))
}

#[cfg(test)]
mod tests {
    use upstream::{Settings, Tls};

    use super::*;
    use crate::config::Databases;

    fn upstream(host: &str, port: u16) -> Upstream {
        let timeout = Duration::from_secs(5);
        let connect = ConnectConfig {
            address: Address::new(host, port),
            tls: Tls::disabled(),
            allow_md5: false,
            binding: Binding::Prefer,
            connect_timeout: timeout,
            login_timeout: timeout,
        };
        Upstream { connect, databases: Databases::Any, settings: Settings::default() }
    }

    fn parse(url: &str) -> Result<Owner, OwnerError> {
        Owner::parse(url, &upstream("10.0.0.1", 5433), &Overrides::default())
    }

    fn refusal(url: &str) -> String {
        parse(url).expect_err(url).to_string()
    }

    #[test]
    fn what_the_url_leaves_out_is_as_in_the_configuration() {
        let owner = parse("postgres://boss@/app").expect("a URL");
        assert_eq!((owner.login.user.as_str(), owner.database.as_str()), ("boss", "app"));
        assert_eq!(owner.connect.address.to_string(), "10.0.0.1:5433");
        assert!(!owner.connect.tls.verifies());

        let same = parse("postgres://boss@10.0.0.1/app").expect("a URL");
        assert_eq!(same.connect.address.to_string(), "10.0.0.1:5433");
    }

    #[test]
    fn another_host_has_its_own_port_and_is_verified() {
        let owner = parse("postgresql://boss:p%40ss@db.example.com").expect("a URL");
        assert_eq!(owner.connect.address.to_string(), "db.example.com:5432");
        assert_eq!(owner.database, "boss");
        assert!(owner.connect.tls.verifies());
        assert!(!format!("{owner:?}").contains("p@ss"));
    }

    #[test]
    fn the_query_has_libpqs_words() {
        let owner = parse("postgres:///app?user=boss&host=/run/postgresql&port=6000&connect_timeout=3").expect("a URL");
        assert_eq!(owner.connect.address.to_string(), "/run/postgresql/.s.PGSQL.6000");
        assert_eq!(owner.connect.login_timeout, Duration::from_secs(3));
        let owner = parse("postgres://boss@[::1]:6000/app?sslmode=require").expect("a URL");
        assert_eq!(owner.connect.address.to_string(), "[::1]:6000");
        assert!(!owner.connect.tls.verifies());
    }

    #[test]
    fn a_url_of_neons_is_taken_as_it_is() {
        let url = "postgres://boss:x@ep-1.neon.tech/app?sslmode=require&channel_binding=require&application_name=a%20b";
        let owner = parse(url).expect("a URL");
        assert_eq!(owner.connect.binding, Binding::Require);
        assert_eq!(owner.parameters.get("application_name"), Some("a b"));
        assert_eq!(parse("postgres://boss@/app").expect("a URL").connect.binding, Binding::Prefer);
    }

    #[test]
    fn a_password_comes_from_the_environment_where_the_url_has_none() {
        let environment = Overrides::new([("PGPASSWORD".to_owned(), "secret".to_owned())], Vec::new());
        let owner = Owner::parse("postgres://boss@/app", &upstream("10.0.0.1", 5433), &environment).expect("a URL");
        assert!(owner.login.password.is_some());
        assert!(parse("postgres://boss@/app").expect("a URL").login.password.is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(refusal("mysql://boss@host/app").contains("begins with postgres://"));
        assert!(refusal("postgres://host/app").contains("names no user"));
        assert!(refusal("postgres://boss@host/app?sslmode=maybe").contains("is not an sslmode"));
        assert!(refusal("postgres://boss@host/app?options=-csearch_path=x").contains("\"options\" is not supported"));
        assert!(refusal("postgres://boss@host/app?options=x").contains("there are user, password, host, port, dbname"));
        assert!(refusal("postgres://boss@host/app?channel_binding=maybe").contains("is not a channel_binding"));
        assert!(refusal("postgres://boss@host:70000/app").contains("port"));
        assert!(refusal("postgres://boss@a,b/app").contains("one host"));
        assert!(refusal("postgres://boss@host/app?sslcert=x").contains("belong together"));
    }
}
