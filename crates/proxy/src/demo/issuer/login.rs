//! The endpoints of the login: an OpenID provider for the one application of a demo. It asks for a name and believes it,
//! so it serves pages of this machine only, and nobody stays logged in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_http::cors::CorsLayer;

use super::authorization::{AnswerTo, Authorization, Wrong};
use super::codes::{Codes, Grant};
use super::parameters::Parameters;
use super::{CLIENT, page};
use crate::demo::keys::KeyError;
use crate::demo::token::{Minter, Wish};

/// How long tokens are valid.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Bytes of the largest form.
const MAX_FORM: usize = 16 * 1024;

/// A code or a token is for one, and for now.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Who signs, and the codes on their way.
pub(super) struct Login {
    issuer: String,
    minter: Minter,
    codes: Mutex<Codes>,
}

/// An error of the token endpoint (RFC 6749, section 5.2).
#[derive(Debug)]
enum TokenError {
    Refused(&'static str, &'static str),
    Unsigned(KeyError),
}

impl Login {
    /// A login at the issuer with this URL, whose tokens `minter` signs.
    pub(super) fn new(issuer: &str, minter: Minter) -> Arc<Self> {
        Arc::new(Self { issuer: issuer.into(), minter: minter.at(issuer), codes: Mutex::default() })
    }

    /// Where the browser goes, now that somebody has said who they are.
    fn granted(&self, asked: Authorization, subject: &str) -> String {
        let Authorization { answer_to, challenge, nonce } = asked;
        let redirect_uri = answer_to.redirect_uri.clone();
        let grant = Grant { subject: subject.into(), redirect_uri, challenge, nonce };
        let code = self.codes.lock().unwrap_or_else(PoisonError::into_inner).issue(grant, Instant::now());
        answer_to.with(&[("code", &code), ("iss", &self.issuer)])
    }

    /// The tokens for a code.
    fn tokens(&self, form: &[u8]) -> Result<Value, TokenError> {
        let twice = |_| TokenError::Refused("invalid_request", "a parameter is there twice");
        let form = Parameters::parse(form).map_err(twice)?;
        if form.value("grant_type") != Some("authorization_code") {
            return Err(TokenError::Refused("unsupported_grant_type", "the grant_type is authorization_code"));
        }
        if form.value("client_id") != Some(CLIENT) {
            return Err(TokenError::Refused("invalid_client", "no such client_id"));
        }
        let code = form.value("code").unwrap_or_default();
        // Whoever has it, right or wrong in the rest, has used it.
        let grant = self.codes.lock().unwrap_or_else(PoisonError::into_inner).redeem(code, Instant::now());
        let grant = grant.ok_or(TokenError::Refused("invalid_grant", "the code is unknown, used or too old"))?;
        if form.value("redirect_uri") != Some(&grant.redirect_uri) {
            return Err(TokenError::Refused("invalid_grant", "the redirect_uri is not the one of the login"));
        }
        if !form.value("code_verifier").is_some_and(|verifier| is_answered(&grant.challenge, verifier)) {
            return Err(TokenError::Refused("invalid_grant", "the code_verifier is not the one of the login"));
        }
        self.sign(&grant).map_err(TokenError::Unsigned)
    }

    fn sign(&self, grant: &Grant) -> Result<Value, KeyError> {
        let access = self.minter.mint(&Wish::new(&grant.subject, TOKEN_LIFETIME))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // It is for the application, which is its audience: pgusher takes no such token.
        let mut id = json!({
            "iss": self.issuer, "sub": grant.subject, "aud": CLIENT,
            "iat": now.as_secs(), "exp": (now + TOKEN_LIFETIME).as_secs(),
        });
        if let Some(nonce) = &grant.nonce {
            id["nonce"] = json!(nonce);
        }
        Ok(json!({
            "access_token": access, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME.as_secs(),
            "id_token": self.minter.key().sign(&id)?, "scope": "openid",
        }))
    }
}

/// Adds the login to a discovery document.
pub(super) fn describe(issuer: &str, discovery: &mut Value) {
    discovery["authorization_endpoint"] = json!(format!("{issuer}/authorize"));
    discovery["token_endpoint"] = json!(format!("{issuer}/token"));
    discovery["end_session_endpoint"] = json!(format!("{issuer}/end_session"));
    discovery["response_types_supported"] = json!(["code"]);
    discovery["response_modes_supported"] = json!(["query"]);
    discovery["grant_types_supported"] = json!(["authorization_code"]);
    discovery["code_challenge_methods_supported"] = json!(["S256"]);
    discovery["token_endpoint_auth_methods_supported"] = json!(["none"]);
    discovery["subject_types_supported"] = json!(["public"]);
    discovery["id_token_signing_alg_values_supported"] = json!(["ES256"]);
    discovery["scopes_supported"] = json!(["openid"]);
    discovery["claims_supported"] = json!(["iss", "sub", "aud", "iat", "exp", "nonce"]);
    discovery["authorization_response_iss_parameter_supported"] = json!(true);
}

/// The endpoints; pages may fetch from the token endpoint, as `cors` allows.
pub(super) fn routes(login: Arc<Login>, cors: CorsLayer) -> Router {
    Router::new()
        .route("/token", post(give_tokens))
        .layer(cors)
        .route("/authorize", get(ask_who).post(hear_who))
        .route("/end_session", get(say_goodbye))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(middleware::from_fn_with_state(login.clone(), by_own_name))
        .with_state(login)
}

/// A page of somebody's who lets the name of their site lead to this machine is not to pass as ours.
async fn by_own_name(State(login): State<Arc<Login>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some() && host == login.issuer.strip_prefix("http://") {
        next.run(request).await
    } else {
        StatusCode::MISDIRECTED_REQUEST.into_response()
    }
}

async fn ask_who(State(login): State<Arc<Login>>, RawQuery(query): RawQuery) -> Response {
    match Authorization::parse(&query.unwrap_or_default()) {
        Ok(asked) => page::login(&asked.answer_to.origin()),
        Err(wrong) => refused(&login, wrong),
    }
}

async fn hear_who(State(login): State<Arc<Login>>, RawQuery(query): RawQuery, form: Bytes) -> Response {
    let asked = match Authorization::parse(&query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(wrong) => return refused(&login, wrong),
    };
    let form = Parameters::parse(&form).ok();
    let name = form.as_ref().and_then(|form| form.value("login")).map(str::trim);
    match name.filter(|name| !name.is_empty() && name.chars().count() <= page::MAX_NAME) {
        Some(name) => see_other(&login.granted(asked, name)),
        None => page::sentence(StatusCode::BAD_REQUEST, "That is no name."),
    }
}

async fn say_goodbye(RawQuery(query): RawQuery) -> Response {
    let parameters = Parameters::parse(query.unwrap_or_default().as_bytes()).ok();
    let back = parameters.and_then(|parameters| AnswerTo::parse(&parameters, "post_logout_redirect_uri"));
    match back {
        Some(page) => see_other(&page.with(&[])),
        None => page::sentence(StatusCode::OK, "You are logged out."),
    }
}

async fn give_tokens(State(login): State<Arc<Login>>, form: Bytes) -> Response {
    let told = |status, error, description| {
        (status, NO_STORE, Json(json!({"error": error, "error_description": description}))).into_response()
    };
    match login.tokens(&form) {
        Ok(tokens) => (NO_STORE, Json(tokens)).into_response(),
        Err(TokenError::Refused(error, description)) => told(StatusCode::BAD_REQUEST, error, description.to_owned()),
        Err(TokenError::Unsigned(error)) => told(StatusCode::INTERNAL_SERVER_ERROR, "server_error", error.to_string()),
    }
}

fn refused(login: &Login, wrong: Wrong) -> Response {
    match wrong {
        Wrong::ForPeople(sentence) => page::sentence(StatusCode::BAD_REQUEST, &sentence),
        Wrong::ForTheApplication(to, error, description) => {
            see_other(&to.with(&[("error", error), ("error_description", description), ("iss", &login.issuer)]))
        }
    }
}

fn see_other(url: &str) -> Response {
    let location = HeaderValue::from_str(url).expect("a URL is ASCII without spaces");
    (StatusCode::SEE_OTHER, NO_STORE, [(header::LOCATION, location)]).into_response()
}

/// Whether a PKCE verifier is the one that a challenge was made of.
fn is_answered(challenge: &str, verifier: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_by_its_verifier_alone() {
        // Of RFC 7636, appendix B.
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(is_answered(challenge, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!is_answered(challenge, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"));
        assert!(!is_answered(challenge, challenge));
    }
}
