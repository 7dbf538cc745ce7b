//! What `pgusher token explain` tells a token's owner.

use crate::identity::Verified;
use crate::rejection::Rejection;
use crate::token::Token;
use crate::verifier::{Verifier, now};

/// All that can be said about a token. Unless `rejection` is none, nothing of it is verified.
#[derive(Default)]
pub struct Explanation {
    /// The rule that refuses the token, if one does.
    pub rejection: Option<Rejection>,
    /// Name of the provider that its `iss` chooses.
    pub provider: Option<String>,
    /// The `iss` claim.
    pub issuer: Option<String>,
    /// The header's `alg`.
    pub algorithm: Option<String>,
    /// The header's `kid`.
    pub key_id: Option<String>,
    /// The roles that it may ask for; empty unless it is verified.
    pub roles: Vec<String>,
    /// The payload, one JSON object.
    pub claims: Option<String>,
    /// The `exp` claim, in Unix seconds.
    pub expires: Option<i64>,
}

impl Verifier {
    /// Explains a token to its owner, with its claims: not an answer for strangers.
    pub async fn explain(&self, token: &str) -> Explanation {
        let mut explanation = self.described(token);
        match self.verified(token, now()).await {
            Ok(verified) => explanation.roles = obtainable_roles(&verified),
            Err(rejection) => explanation.rejection = Some(rejection),
        }
        explanation
    }

    /// What the token says of itself.
    fn described(&self, token: &str) -> Explanation {
        let Ok(token) = Token::parse(token) else { return Explanation::default() };
        let issuer = token.issuer().ok();
        let provider = issuer.and_then(|issuer| self.provider(issuer).ok());
        Explanation {
            provider: provider.map(|provider| provider.name().to_owned()),
            issuer: issuer.map(str::to_owned),
            expires: token.claims.get("exp").and_then(|exp| exp.as_f64()).map(|exp| exp as i64),
            algorithm: Some(token.header.algorithm),
            key_id: token.header.key_id,
            claims: Some(token.claims_json),
            ..Explanation::default()
        }
    }
}

fn obtainable_roles(verified: &Verified) -> Vec<String> {
    let granted = verified.provider.roles().iter();
    granted.filter(|role| verified.names(role)).cloned().collect()
}
