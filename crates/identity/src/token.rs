//! A token's text, cut and read. Nothing here says that it is genuine.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json;
use crate::rejection::{Rejection, shown};
use crate::terms::Terms;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 64 * 1024;

/// The longest `kid`, of a token and of a key, in bytes.
pub(crate) const MAX_KEY_ID: usize = 256;

/// The three parts of a JWS in compact form (RFC 7515 §3.1), the first two of them read.
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
    /// The payload as ASCII JSON, members in their order.
    pub(crate) claims_json: String,
    /// What the signature covers.
    pub(crate) signed: &'a str,
    /// The signature, in base64url.
    pub(crate) signature: &'a str,
}

/// What a header may say. `jku`, `jwk`, `x5u` and `x5c` would let a token bring its own key; they
/// are not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Rejection> {
        let [header, payload, signature] = parts(text)?;
        let signed = &text[..text.len() - signature.len() - 1];
        decode(signature, "the signature is not base64url")?;
        let header = utf8("header", decode(header, "the header is not base64url")?)?;
        let payload = utf8("payload", decode(payload, "the payload is not base64url")?)?;
        Ok(Self {
            header: Header::read(&object("header", &header)?)?,
            claims: object("payload", &payload)?,
            claims_json: json::ascii(&payload),
            signed,
            signature,
        })
    }

    /// The `iss` claim, which chooses the provider.
    pub(crate) fn issuer(&self) -> Result<&str, Rejection> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(Rejection::MalformedClaim("iss")),
            None => Err(Rejection::MissingClaim("iss")),
        }
    }
}

impl Header {
    fn read(members: &Map<String, Value>) -> Result<Self, Rejection> {
        if members.contains_key("crit") {
            return Err(Rejection::Critical);
        }
        let Some(Value::String(algorithm)) = members.get("alg") else {
            return Err(Rejection::Header("alg"));
        };
        let key_id = match members.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return Err(Rejection::Header("kid")),
        };
        Ok(Self { algorithm: algorithm.clone(), key_id })
    }

    /// The key id as it may be shown.
    pub(crate) fn shown_key_id(&self) -> Option<String> {
        self.key_id.as_deref().map(shown)
    }
}

/// Parses `bytes` as a token and drops the result: the entry for fuzzing, which must never panic.
pub fn fuzz_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = Token::parse(text) else { return };
    assert!(token.claims_json.is_ascii(), "claims are escaped");
    let _ = Terms::read(&token.claims);
}

/// Cuts at the dots; the mistakes that people make often enough get a name.
fn parts(text: &str) -> Result<[&str; 3], Rejection> {
    if text.is_empty() {
        return Err(Rejection::Empty);
    }
    if text.len() > MAX_TOKEN {
        return Err(Rejection::TooLarge { size: text.len() });
    }
    if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        return Err(Rejection::BearerPrefix);
    }
    match text.splitn(6, '.').collect::<Vec<_>>()[..] {
        [header, payload, signature] => Ok([header, payload, signature]),
        [_, _, _, _, _] => Err(Rejection::Encrypted),
        _ => Err(Rejection::NotAJwt("it has not three parts separated by dots")),
    }
}

/// Base64url without padding. The engine also refuses non-zero trailing bits, so that no two texts
/// are the same token.
fn decode(part: &str, fault: &'static str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejection::NotAJwt(fault))
}

fn utf8(part: &'static str, bytes: Vec<u8>) -> Result<String, Rejection> {
    String::from_utf8(bytes).map_err(|_| Rejection::Json { part, reason: "not UTF-8".to_owned() })
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, Rejection> {
    json::object(text).map_err(|reason| Rejection::Json { part, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"alg":"ES256","kid":"a"}"#;

    fn compact(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn refusal(text: &str) -> Rejection {
        Token::parse(text).err().expect(text)
    }

    #[test]
    fn a_token_is_cut_and_read() {
        let text = compact(HEADER, r#"{"z":1, "iss":"é"}"#);

        let token = Token::parse(&text).unwrap();

        assert_eq!(token.header, Header { algorithm: "ES256".into(), key_id: Some("a".into()) });
        assert_eq!(token.claims_json, r#"{"z":1, "iss":"\u00e9"}"#);
        assert_eq!(token.issuer(), Ok("é"));
        assert_eq!(format!("{}.{}", token.signed, token.signature), text);
    }

    #[test]
    fn usual_mistakes_have_names() {
        let good = compact(HEADER, "{}");

        assert_eq!(refusal(""), Rejection::Empty);
        assert_eq!(refusal(&format!("Bearer {good}")), Rejection::BearerPrefix);
        assert_eq!(refusal("a.b.c.d.e"), Rejection::Encrypted);
        for text in ["secret", "a.b", "a.b.c.d", "a.b.c.d.e.f", "...."] {
            assert!(matches!(refusal(text), Rejection::NotAJwt(_) | Rejection::Encrypted), "{text}");
        }
    }

    #[test]
    fn the_limit_is_64_kib_and_not_a_byte_more() {
        let room = MAX_TOKEN - compact(HEADER, "{}").len() + 2;
        let filled = format!("{}.e30.{}", URL_SAFE_NO_PAD.encode(HEADER), "A".repeat(room / 4 * 4));
        assert!(filled.len() <= MAX_TOKEN);
        assert!(Token::parse(&filled).is_ok());

        let over = "x".repeat(MAX_TOKEN + 1);

        assert_eq!(refusal(&over), Rejection::TooLarge { size: MAX_TOKEN + 1 });
    }

    #[test]
    fn base64url_is_read_strictly() {
        let header = URL_SAFE_NO_PAD.encode(HEADER);
        // "e30" is {}; "e31" and "e3x" differ from it only in bits that no byte holds.
        for payload in ["e30=", "e31", "e3 0", "e30\n", "e3+0", "e3/0", "e"] {
            let text = format!("{header}.{payload}.c2ln");
            assert!(matches!(refusal(&text), Rejection::NotAJwt(_)), "{text}");
        }
        assert!(matches!(refusal(&format!("{header}.e30.c2l")), Rejection::NotAJwt(_)));
        assert!(Token::parse(&format!("{header}.e30.c2ln")).is_ok());
    }

    #[test]
    fn header_and_payload_are_objects_without_repeated_names() {
        for payload in ["[]", "", r#"{"exp":1,"exp":2}"#, r#"{"a":{"b":1,"b":1}}"#] {
            let rejection = refusal(&compact(HEADER, payload));
            assert!(matches!(rejection, Rejection::Json { part: "payload", .. }), "{rejection}");
        }
        for header in ["[]", r#"{"alg":"RS256","alg":"none"}"#, "{\"alg\":\"\\u0000\"}"] {
            let rejection = refusal(&compact(header, "{}"));
            assert!(matches!(rejection, Rejection::Json { part: "header", .. }), "{rejection}");
        }
    }

    #[test]
    fn a_header_names_its_algorithm_and_demands_nothing() {
        let long = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(MAX_KEY_ID + 1));
        for (header, rejection) in [
            (r#"{}"#, Rejection::Header("alg")),
            (r#"{"alg":null}"#, Rejection::Header("alg")),
            (r#"{"alg":["ES256"]}"#, Rejection::Header("alg")),
            (r#"{"alg":"ES256","kid":7}"#, Rejection::Header("kid")),
            (&long, Rejection::Header("kid")),
            (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, Rejection::Critical),
            (r#"{"alg":"ES256","crit":[]}"#, Rejection::Critical),
        ] {
            assert_eq!(refusal(&compact(header, "{}")), rejection, "{header}");
        }
    }

    #[test]
    fn no_cut_of_a_token_panics() {
        let text = compact(HEADER, r#"{"iss":"é","exp":1e9,"aud":["a"]}"#);
        for end in 0..=text.len() {
            fuzz_token(&text.as_bytes()[..end]);
        }
    }
}
