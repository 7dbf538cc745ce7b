//! Who a client is to the pool and to its servers: whose session state they hold for it, and how they get it.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::rand;
use identity::Identity;
use upstream::{Claims, Holder, Lease, Login, Parameters, SessionInit, Want};

use crate::authenticate::Request;
use crate::clock;
use crate::deadlines::last_moment;
use crate::digest::{Digest, digest};
use crate::error::Error;
use crate::proxy::Proxy;
use crate::remembered::Remembered;

/// An identity with all that a server has to be told of it.
pub(crate) struct Tenancy<'a> {
    proxy: &'a Proxy,
    request: &'a Request,
    /// None: the role is not served.
    login: Option<&'a Login>,
    identity: Identity,
    /// When the token's time is over.
    expires: Option<SystemTime>,
    digest: Digest,
    holder: Option<Holder>,
    startup: Arc<Parameters>,
}

impl<'a> Tenancy<'a> {
    pub(crate) fn new(request: &'a Request, identity: Identity, proxy: &'a Proxy) -> Self {
        Self {
            proxy,
            request,
            login: proxy.login(&request.role),
            expires: identity.expires().map(clock::moment),
            digest: identity_digest(&identity),
            holder: holder(&identity),
            identity,
            startup: Arc::new(request.parameters.clone()),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Equal for those who may find in a session what the other has left there.
    pub(crate) fn identity_digest(&self) -> Digest {
        self.digest
    }

    /// Whether the token's time is over.
    pub(crate) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|moment| moment <= SystemTime::now())
    }

    /// What is asked of the pool.
    ///
    /// # Errors
    /// [`Error::NoRole`]
    pub(crate) fn want(&self, remembered: &Remembered) -> Result<Want<'a>, Error> {
        Ok(Want {
            database: &self.request.database,
            role: &self.request.role,
            login: self.login.ok_or_else(|| Error::NoRole(self.request.role.clone()))?,
            tenant: remembered.tenant(),
            holder: self.holder,
        })
    }

    /// What tells a server of this identity, and sets what its client has in its startup packet.
    ///
    /// # Errors
    /// The claims cannot be told.
    pub(crate) fn init(&self, lease: &Lease) -> Result<Arc<SessionInit>, upstream::Error> {
        let claims = self.identity.claims().zip(last_moment(&self.identity, self.proxy));
        let claims = claims.map(|(json, expires)| Claims { json, expires });
        SessionInit::new(claims.as_ref(), self.startup.clone(), lease.backend()).map(Arc::new)
    }

    /// Sets the session up on a server and waits until it is: a client that is to be let in learns from it which values
    /// its settings have, or that one of them is wrong. Whether there was something to do: what a server that had the
    /// session already has made of it since is this identity's own.
    ///
    /// # Errors
    /// What the server refuses.
    pub(crate) async fn move_in(&self, lease: Lease, remembered: &Remembered) -> Result<(Lease, bool), Error> {
        if lease.holds() == remembered.holds() {
            return Ok((lease, false));
        }
        let (lease, init) = lease.with(|lease| self.init(lease))?;
        Ok((lease.move_in(init, remembered.holds()).await?, true))
    }
}

/// The token's claims, what they are good for, and until when. Clients without a token have nothing in common.
fn identity_digest(identity: &Identity) -> Digest {
    let Some(claims) = identity.claims() else {
        let mut random = [0; 32];
        rand::fill(&mut random).expect("the system has random bytes");
        return random;
    };
    let expires = identity.expires().unwrap_or_default().to_string();
    digest([identity.provider().unwrap_or_default(), identity.role(), &expires, claims].map(str::as_bytes))
}

/// Subject and provider; nobody in particular without a token.
pub(crate) fn holder(identity: &Identity) -> Option<Holder> {
    let subject = identity.subject().unwrap_or_default();
    identity.provider().map(|provider| digest([provider, subject].map(str::as_bytes)))
}
