//! TLS towards the server, with the meaning that libpq gives to `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use wire::stream::Stream;

use crate::verifier::{Names, Verifier};

/// libpq's six words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// In clear.
    Disable,
    /// In clear; under TLS if the server refuses that.
    Allow,
    /// Under TLS; in clear if that fails.
    Prefer,
    /// Under TLS.
    Require,
    /// Under TLS, to a server with a certificate of a trusted authority.
    VerifyCa,
    /// The same, and the certificate is for the host.
    VerifyFull,
}

impl SslMode {
    /// All six, from the weakest to the strongest.
    pub const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word).ok_or_else(|| UnknownSslMode(word.to_owned()))
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no `sslmode`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an sslmode: disable, allow, prefer, require, verify-ca, verify-full")]
pub struct UnknownSslMode(pub String);

/// `sslrootcert`: whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// The operating system's authorities; the word `system`.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// `sslcert` and `sslkey`: who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A PEM file with our certificate and those between it and its authority.
    pub certificate_file: PathBuf,
    /// A PEM file with its private key.
    pub key_file: PathBuf,
}

/// Whether, and how, to speak TLS. Made once from the configuration; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tls {
    pub(crate) first: Attempt,
    /// What to try where the first fails for its encryption or lack of it.
    pub(crate) second: Option<Attempt>,
    mode: SslMode,
    verifies: bool,
    client: Arc<[CertificateDer<'static>]>,
}

/// One way to connect.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    Plain,
    /// Under TLS; in clear on the same connection if the server has no TLS.
    Offered(Arc<ClientConfig>),
    Demanded(Arc<ClientConfig>),
}

impl Attempt {
    /// What the attempt came to: TLS or none, and no more a question.
    pub(crate) fn as_settled(&self, stream: &Stream) -> Self {
        match self {
            Self::Offered(config) if stream.is_tls() => Self::Demanded(Arc::clone(config)),
            Self::Offered(_) => Self::Plain,
            settled => settled.clone(),
        }
    }
}

impl Tls {
    /// No TLS at all.
    #[must_use]
    pub fn disabled() -> Self {
        let (mode, client) = (SslMode::Disable, Arc::default());
        Self { first: Attempt::Plain, second: None, mode, verifies: false, client }
    }

    /// Reads the certificates. As in libpq, `require` with root certificates is `verify-ca`, and `system` needs
    /// `verify-full`: with an authority that certifies the whole world, only the name tells servers apart.
    ///
    /// # Errors
    /// [`TlsSetupError`] says which file is wrong and why.
    pub fn new(
        mode: SslMode,
        roots: Option<&RootCertificates>,
        client: Option<&ClientCertificate>,
    ) -> Result<Self, TlsSetupError> {
        use Attempt::{Demanded, Offered, Plain};

        if mode == SslMode::Disable {
            return Ok(Self::disabled());
        }
        if roots == Some(&RootCertificates::System) && mode != SslMode::VerifyFull {
            return Err(TlsSetupError::WeakMode(mode));
        }
        if roots.is_none() && matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) {
            return Err(TlsSetupError::NoRoots(mode));
        }
        let config = Arc::new(client_config(mode, roots, client)?);
        let (first, second) = match mode {
            SslMode::Allow => (Plain, Some(Demanded(config))),
            SslMode::Prefer => (Offered(config), Some(Plain)),
            _ => (Demanded(config), None),
        };
        let mode = if mode == SslMode::Require && roots.is_some() { SslMode::VerifyCa } else { mode };
        let client = client.map(|client| load_certificates(&client.certificate_file)).transpose()?;
        Ok(Self { first, second, mode, verifies: roots.is_some(), client: client.unwrap_or_default().into() })
    }

    /// What it comes to, in libpq's words.
    #[must_use]
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// What is shown to a server that asks for a certificate, ours first; nothing, where we have none.
    #[must_use]
    pub fn client_certificates(&self) -> &[CertificateDer<'static>] {
        &self.client
    }

    /// Whether a connection that came to be under TLS is one to a server whose certificate was verified.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.verifies
    }
}

fn client_config(
    mode: SslMode,
    roots: Option<&RootCertificates>,
    client: Option<&ClientCertificate>,
) -> Result<ClientConfig, TlsSetupError> {
    let names = if mode == SslMode::VerifyFull { Names::Compared } else { Names::Any };
    let verifier = match roots {
        Some(roots) => Verifier::trusting(load_roots(roots)?, names),
        None => Verifier::trusting_anybody(),
    };
    // The versions of the default are 1.2 and 1.3.
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsSetupError::Rustls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder
            .with_client_auth_cert(load_certificates(&client.certificate_file)?, load_key(&client.key_file)?)
            .map_err(TlsSetupError::Rustls)?,
    };
    // Says what is spoken inside, so that the bytes cannot be turned against a server of another protocol with the
    // same certificate. Servers before 17 don't look at it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

fn load_roots(roots: &RootCertificates) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    match roots {
        RootCertificates::File(file) => load_certificates(file),
        RootCertificates::System => {
            // Stores are full of oddities; one that yields nothing is an error, one with a bad entry is not.
            let loaded = rustls_native_certs::load_native_certs();
            if loaded.certs.is_empty() { Err(TlsSetupError::NoSystemRoots) } else { Ok(loaded.certs) }
        }
    }
}

fn load_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let pem = read(file)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsSetupError::Pem { file: file.to_owned(), source: pem::Error::NoItemsFound })
        }
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsSetupError::Pem { file: file.to_owned(), source }),
    }
}

fn load_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|source| TlsSetupError::Pem { file: file.to_owned(), source })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsSetupError> {
    std::fs::read(file).map_err(|source| TlsSetupError::Read { file: file.to_owned(), source })
}

/// Why TLS cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// Which one.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {source}", file.display())]
    Pem {
        /// Which one.
        file: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Verification without anybody to trust.
    #[error("sslmode={0} needs sslrootcert")]
    NoRoots(SslMode),
    /// The system's authorities with a mode that does not look at the name.
    #[error("sslmode={0} is too weak for sslrootcert=system; it needs verify-full")]
    WeakMode(SslMode),
    /// The operating system has no authorities.
    #[error("sslrootcert=system: this system has no root certificates")]
    NoSystemRoots,
    /// The key does not fit the certificate, or the like.
    #[error("TLS: {0}")]
    Rustls(#[source] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_six_words_are_libpqs() {
        for mode in SslMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        assert!("verify_full".parse::<SslMode>().is_err());
    }

    #[test]
    fn verification_needs_somebody_to_trust() {
        for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
            assert!(matches!(Tls::new(mode, None, None), Err(TlsSetupError::NoRoots(_))));
        }
    }

    #[test]
    fn the_systems_authorities_need_the_name_compared() {
        for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyCa] {
            let refused = Tls::new(mode, Some(&RootCertificates::System), None);
            assert!(matches!(refused, Err(TlsSetupError::WeakMode(_))), "{mode}");
        }
    }

    #[test]
    fn only_root_certificates_make_a_connection_a_verified_one() {
        let tls = Tls::new(SslMode::Require, None, None).unwrap();
        assert!(!tls.verifies());
        assert_eq!((tls.mode(), Tls::disabled().mode()), (SslMode::Require, SslMode::Disable));
    }
}
