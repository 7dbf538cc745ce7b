//! The login of the demo's issuer, as an application goes through it, and what it gives to nobody.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use pgusher_tests::Demo;
use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST, LOCATION, ORIGIN, X_FRAME_OPTIONS};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

const PAGE: &str = "http://127.0.0.1:3000/";

const VERIFIER: &str = "a verifier of as many letters as there have to be";

/// A browser at the issuer of the shared demo.
struct Browser {
    client: Client,
    issuer: String,
}

impl Browser {
    fn new() -> Self {
        let issuer = Demo::shared().prints("printf %s \"$ISSUER_URL\"");
        // Whoever follows redirects does not see them.
        let client = Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { client, issuer }
    }

    /// The URL where somebody logs in, for an application with this page.
    fn authorize(&self, page: &str) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest);
        format!(
            "{}/authorize?client_id=todos&redirect_uri={page}&response_type=code&scope=openid&state=17&nonce=n\
             &code_challenge={challenge}&code_challenge_method=S256",
            self.issuer
        )
    }

    async fn get(&self, url: &str) -> Response {
        self.client.get(url).send().await.expect("the issuer answers")
    }

    async fn post(&self, url: &str, form: &str) -> Response {
        self.client.post(url).body(form.to_owned()).send().await.expect("the issuer answers")
    }

    /// Logs in, and returns the code that the application gets.
    async fn code(&self, name: &str) -> String {
        let sent = self.post(&self.authorize(PAGE), &format!("login={name}")).await;
        assert_eq!(sent.status(), StatusCode::SEE_OTHER);
        let location = sent.headers()[LOCATION].to_str().expect("a URL");
        let answer = location.strip_prefix(PAGE).and_then(|rest| rest.strip_prefix("?code=")).expect("a code");
        let (code, rest) = answer.split_once('&').expect("more than a code");
        assert!(rest.ends_with("&state=17"), "{rest}");
        code.to_owned()
    }

    /// What the application gets for a code.
    async fn redeem(&self, code: &str, page: &str, verifier: &str) -> (StatusCode, Value) {
        let form = format!(
            "grant_type=authorization_code&client_id=todos&code={code}&redirect_uri={page}&code_verifier={verifier}"
        );
        let response = self.post(&format!("{}/token", self.issuer), &form).await;
        (response.status(), response.json().await.expect("JSON"))
    }
}

/// The answer to a code that is not worth anything.
fn is_refused((status, told): &(StatusCode, Value)) {
    assert_eq!((*status, &told["error"]), (StatusCode::BAD_REQUEST, &Value::from("invalid_grant")), "{told}");
}

#[tokio::test]
async fn somebody_who_logs_in_gets_a_token_that_is_a_password() {
    let browser = Browser::new();
    let page = browser.get(&browser.authorize(PAGE)).await;
    assert_eq!(page.headers()[X_FRAME_OPTIONS], "DENY");
    assert!(page.text().await.expect("a page").contains("alice"));
    let code = browser.code("dora%20d").await;

    let (status, tokens) = browser.redeem(&code, PAGE, VERIFIER).await;

    assert_eq!(status, StatusCode::OK, "{tokens}");
    let log_in = |token: &str| format!("PGPASSWORD={} psql -XAt -c 'select auth.user_id()'", tokens[token]);
    assert_eq!(Demo::shared().prints(&log_in("access_token")), "dora d\n");
    // The ID token is for the application, and tells it who that was.
    let told = Demo::shared().complains(&log_in("id_token"));
    assert!(told.contains("audience"), "{told}");
}

#[tokio::test]
async fn a_code_works_once() {
    let browser = Browser::new();
    let code = browser.code("dora").await;
    assert_eq!(browser.redeem(&code, PAGE, VERIFIER).await.0, StatusCode::OK);
    is_refused(&browser.redeem(&code, PAGE, VERIFIER).await);
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_the_verifier_and_nothing_after_that() {
    let browser = Browser::new();
    for (page, verifier) in [(PAGE, "another verifier"), (PAGE, ""), ("http://127.0.0.1:3001/", VERIFIER)] {
        let code = browser.code("dora").await;
        is_refused(&browser.redeem(&code, page, verifier).await);
        is_refused(&browser.redeem(&code, PAGE, VERIFIER).await);
    }
}

#[tokio::test]
async fn nobody_is_sent_to_another_machine() {
    let browser = Browser::new();
    let elsewhere = browser.authorize("https://example.com/");
    let out = format!("{}/end_session?post_logout_redirect_uri=https://example.com/", browser.issuer);
    for response in [
        browser.get(&elsewhere).await,
        browser.post(&elsewhere, "login=alice").await,
        browser.get(&format!("{elsewhere}&prompt=none")).await,
        browser.get(&out).await,
    ] {
        assert!(!response.status().is_redirection() && !response.headers().contains_key(LOCATION), "{response:?}");
    }
    let out = browser.get(&format!("{}/end_session?post_logout_redirect_uri={PAGE}", browser.issuer)).await;
    assert_eq!(out.headers()[LOCATION], PAGE);
}

#[tokio::test]
async fn an_application_that_asks_wrongly_is_told() {
    let browser = Browser::new();
    let sent = browser.get(&browser.authorize(PAGE).replace("S256", "plain")).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let location = sent.headers()[LOCATION].to_str().expect("a URL");
    assert!(location.starts_with(&format!("{PAGE}?error=invalid_request&")), "{location}");
}

#[tokio::test]
async fn tokens_are_fetched_by_pages_of_this_machine_alone() {
    let browser = Browser::new();
    for (origin, allowed) in [("http://127.0.0.1:3000", true), ("https://example.com", false)] {
        let token = browser.client.post(format!("{}/token", browser.issuer)).header(ORIGIN, origin);
        let response = token.send().await.expect("the issuer answers");
        assert_eq!(response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin}");
    }
}

#[tokio::test]
async fn the_login_has_no_name_but_its_own() {
    let browser = Browser::new();
    for path in ["authorize", "end_session", "token"] {
        let url = format!("{}/{path}", browser.issuer);
        let response = browser.client.post(url).header(HOST, "example.com").send().await.expect("the issuer answers");
        assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
}
