//! What an application asks for when it sends somebody here to log in: the authorization code flow with PKCE
//! (RFC 6749, section 4.1; RFC 7636; OpenID Connect Core, section 3.1.2).

use url::Url;

use super::parameters::Parameters;
use super::{CLIENT, is_of_this_machine};

/// A request to the authorization endpoint in which everything is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization {
    /// Where the answer goes.
    pub(super) answer_to: AnswerTo,
    /// The PKCE challenge, by S256.
    pub(super) challenge: String,
    /// What the ID token has to repeat.
    pub(super) nonce: Option<String>,
}

/// The application's page that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnswerTo {
    /// Its URL, to the letter: the token request has to name the same.
    pub(super) redirect_uri: String,
    url: Url,
    state: Option<String>,
}

/// What is wrong with one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not known whom to tell but the person in front of the browser.
    ForPeople(String),
    /// The application is told, by the error codes of OAuth.
    ForTheApplication(Box<AnswerTo>, &'static str, &'static str),
}

impl Authorization {
    /// Reads a query.
    pub(super) fn parse(query: &str) -> Result<Self, Wrong> {
        let twice = |name| Wrong::ForPeople(format!("The parameter {name} is there twice."));
        let parameters = Parameters::parse(query.as_bytes()).map_err(twice)?;
        if parameters.value("client_id") != Some(CLIENT) {
            return Err(Wrong::ForPeople(format!("The client_id is not {CLIENT}.")));
        }
        let answer_to = AnswerTo::parse(&parameters, "redirect_uri").ok_or_else(|| {
            Wrong::ForPeople("The redirect_uri is not the URL of a page that this machine serves.".into())
        })?;
        match Self::check(&parameters) {
            Ok(challenge) => {
                let nonce = parameters.value("nonce").map(str::to_owned);
                Ok(Self { answer_to, challenge: challenge.into(), nonce })
            }
            Err((error, description)) => Err(Wrong::ForTheApplication(Box::new(answer_to), error, description)),
        }
    }

    /// The challenge of a request with whose rest everything is right.
    fn check(parameters: &Parameters) -> Result<&str, (&'static str, &'static str)> {
        if parameters.value("response_type") != Some("code") {
            return Err(("unsupported_response_type", "the response_type is code"));
        }
        if !parameters.value("scope").is_some_and(|scope| scope.split(' ').any(|word| word == "openid")) {
            return Err(("invalid_scope", "the scope openid is missing"));
        }
        let challenge = parameters.value("code_challenge").filter(|challenge| is_challenge(challenge));
        let (Some(challenge), Some("S256")) = (challenge, parameters.value("code_challenge_method")) else {
            return Err(("invalid_request", "PKCE by S256 is required"));
        };
        // Nobody is logged in here for longer than it takes to say a name.
        if parameters.value("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "none")) {
            return Err(("login_required", "somebody has to say who they are"));
        }
        Ok(challenge)
    }
}

impl AnswerTo {
    /// Reads the URL in this parameter, if it is one of a page on this machine: no answer goes anywhere else.
    pub(super) fn parse(parameters: &Parameters, name: &str) -> Option<Self> {
        let redirect_uri = parameters.value(name)?;
        let url = Url::parse(redirect_uri).ok()?;
        let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
        let state = parameters.value("state").map(str::to_owned);
        (plain && is_of_this_machine(&url)).then(|| Self { redirect_uri: redirect_uri.into(), url, state })
    }

    /// Whose page it is, as a browser names it.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The URL with an answer in it.
    pub(super) fn with(&self, answer: &[(&str, &str)]) -> String {
        let mut url = self.url.clone();
        {
            // Even without anything to append, asking for the query gives the URL one.
            let state = self.state.as_deref().map(|state| ("state", state));
            let mut pairs = answer.iter().copied().chain(state).peekable();
            if pairs.peek().is_some() {
                url.query_pairs_mut().extend_pairs(pairs);
            }
        }
        url.into()
    }
}

/// A SHA-256 in base64url without padding.
fn is_challenge(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    /// A request in which all is right, but for the parameters in `changes`, which take the place of its own.
    fn query(changes: &[(&str, &str)]) -> String {
        let right = [
            ("client_id", CLIENT),
            ("redirect_uri", "http://127.0.0.1:3000/?from=login"),
            ("response_type", "code"),
            ("scope", "openid profile"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "a&b"),
        ];
        let kept = right.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept.chain(changes)).finish()
    }

    #[test]
    fn an_answer_goes_to_the_page_that_asked_and_repeats_its_state() {
        let asked = Authorization::parse(&query(&[("nonce", "n")])).unwrap();
        assert_eq!((asked.challenge.as_str(), asked.nonce.as_deref()), (CHALLENGE, Some("n")));
        assert_eq!(asked.answer_to.origin(), "http://127.0.0.1:3000");
        let answer = asked.answer_to.with(&[("code", "1+1")]);
        assert_eq!(answer, "http://127.0.0.1:3000/?from=login&code=1%2B1&state=a%26b");
    }

    #[test]
    fn an_answer_goes_nowhere_but_to_this_machine() {
        for redirect_uri in [
            "https://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost@example.com/",
            "http://somebody@localhost/",
            "http://localhost/#fragment",
            "//localhost/",
            "javascript://localhost/%0aalert(1)",
            "file://localhost/etc/passwd",
            "http://10.0.0.1/",
            "",
        ] {
            let wrong = Authorization::parse(&query(&[("redirect_uri", redirect_uri)])).unwrap_err();
            assert!(matches!(wrong, Wrong::ForPeople(_)), "{redirect_uri}: {wrong:?}");
        }
    }

    #[test]
    fn an_unknown_application_is_not_answered() {
        for changes in [[("client_id", "another")], [("client_id", "")]] {
            assert!(matches!(Authorization::parse(&query(&changes)), Err(Wrong::ForPeople(_))));
        }
        let twice = format!("{}&client_id={CLIENT}", query(&[]));
        assert!(matches!(Authorization::parse(&twice), Err(Wrong::ForPeople(_))));
    }

    #[test]
    fn the_application_is_told_what_is_wrong() {
        for (changes, error) in [
            (("response_type", "token"), "unsupported_response_type"),
            (("scope", "profile"), "invalid_scope"),
            (("code_challenge", "short"), "invalid_request"),
            (("code_challenge", ""), "invalid_request"),
            (("code_challenge_method", "plain"), "invalid_request"),
            (("code_challenge_method", ""), "invalid_request"),
            (("prompt", "none"), "login_required"),
        ] {
            let wrong = Authorization::parse(&query(&[changes])).unwrap_err();
            let Wrong::ForTheApplication(to, told, _) = wrong else { panic!("{changes:?}: {wrong:?}") };
            assert_eq!((told, to.origin().as_str()), (error, "http://127.0.0.1:3000"), "{changes:?}");
        }
    }

    #[test]
    fn a_page_that_gets_no_answer_keeps_its_url() {
        let parameters = Parameters::parse(b"redirect_uri=http://localhost:3000/out").unwrap();
        let to = AnswerTo::parse(&parameters, "redirect_uri").unwrap();
        assert_eq!(to.with(&[]), "http://localhost:3000/out");
    }
}
