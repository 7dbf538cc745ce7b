//! How a server's certificate is judged: not at all, by its chain, or by its chain and its name. In every case the
//! server must prove by a signature that the certificate is its own; SCRAM's channel binding rests on that.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What of a certificate's names is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Nothing.
    Any,
    /// One of its subject alternative names is the host's.
    Compared,
}

#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    Anybody,
    Roots { store: RootCertStore, certificates: Vec<CertificateDer<'static>>, names: Names },
}

impl Verifier {
    /// Trusts certificates that lead to one of `roots`.
    pub(crate) fn trusting(roots: Vec<CertificateDer<'static>>, names: Names) -> Self {
        let mut store = RootCertStore::empty();
        // What is no authority may still be the server's certificate itself, which is compared as a whole.
        store.add_parsable_certificates(roots.iter().cloned());
        Self::new(Trust::Roots { store, certificates: roots, names })
    }

    /// Trusts whoever answers: protection from who listens, not from who stands in between.
    pub(crate) fn trusting_anybody() -> Self {
        Self::new(Trust::Anybody)
    }

    fn new(trust: Trust) -> Self {
        Self { trust, algorithms: default_provider().signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trust::Roots { store, certificates, names } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        if certificates.iter().any(|root| root == leaf) {
            verify_dates(leaf, now)?;
        } else {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, store, intermediates, now, algorithms)?;
        }
        if *names == Names::Compared {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A certificate that is trusted in person has no chain to check, only its dates. Postgres's manual makes such a one
/// (`openssl req -x509`) and libpq takes it as its own root; webpki refuses an authority as a server's certificate.
fn verify_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let certificate = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = certificate.tbs_certificate().validity();
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}
