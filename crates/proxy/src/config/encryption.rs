//! The configuration's certificates and its way to Postgres, as an audit looks at them.

use std::sync::Arc;
use std::time::SystemTime;

use audit::Finding;

use super::Config;
use super::server::is_local;
use crate::certificate::Certificate;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    /// What clients are shown.
    listener: Option<Arc<Certificate>>,
    upstream: upstream::Tls,
    /// Whether the way to Postgres leaves this machine.
    remote: bool,
}

impl Encryption {
    pub(crate) fn of(config: &Config) -> Self {
        let connect = &config.upstream.connect;
        let listener = config.tls.as_ref().map(|tls| tls.certificate.clone());
        Self { listener, upstream: connect.tls.clone(), remote: !is_local(&connect.address) }
    }

    /// What is wrong at this time.
    pub(crate) fn findings(&self, now: SystemTime) -> Vec<Finding> {
        let shown = self.listener.as_ref().map(|certificate| certificate.current());
        let listener: Vec<_> = shown.iter().flat_map(|key| key.cert.iter().map(AsRef::as_ref)).collect();
        let client: Vec<_> = self.upstream.client_certificates().iter().map(AsRef::as_ref).collect();
        let remote = self.remote.then(|| self.upstream.mode());
        audit::tls(&audit::Encryption { listener: &listener, client: &client, remote }, now)
    }
}
