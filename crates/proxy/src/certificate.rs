//! The certificate that clients are shown, which can be replaced while they come and go.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain and its private key, in two PEM files.
#[derive(Debug)]
pub struct Certificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// What these files have at present.
    pub(crate) fn new(certificate_file: PathBuf, key_file: PathBuf, current: CertifiedKey) -> Self {
        Self { certificate_file, key_file, current: RwLock::new(Arc::new(current)) }
    }

    /// Reads both files again. If they are of no use, what is there stays.
    pub(crate) fn renew(&self) -> Result<(), String> {
        let new = pair(chain(&self.certificate_file)?, key(&self.key_file)?)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// What the next client is shown.
    pub(crate) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The certificates of a PEM file: at least one.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match all {
        Ok(chain) if chain.is_empty() => Err(format!("{} has no certificate in PEM form", path.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// The private key of a PEM file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error))
}

/// Both, if they belong together.
pub(crate) fn pair(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, String> {
    let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    pair.map_err(|error| format!("the key does not fit the certificate: {error}"))
}

fn unreadable(path: &Path, error: &rustls_pki_types::pem::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
