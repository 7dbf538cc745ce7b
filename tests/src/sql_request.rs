//! Requests to `/sql`.

use std::fmt::Display;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::proxy::Proxy;

/// An answer that has come whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub text: String,
}

impl Proxy {
    /// A request to `/sql` without a header of its own but for the role and the database that all tests have.
    pub fn sql_request(&self) -> RequestBuilder {
        let request = Client::new().post(self.sql_url());
        request.header("pgusher-role", "authenticated").header("pgusher-database", "neondb")
    }

    /// The answer to one query with this token.
    pub async fn sql(&self, token: &impl Display, query: &str) -> Answer {
        let request = self.sql_request().bearer_auth(token);
        Answer::to(request.body(json!({"query": query}).to_string())).await
    }

    /// The rows of one query with this token.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn sql_rows(&self, token: &impl Display, query: &str) -> Value {
        let answer = self.sql(token, query).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()["rows"].clone()
    }
}

impl Answer {
    /// The answer to a request.
    ///
    /// # Panics
    /// If there is none.
    pub async fn to(request: RequestBuilder) -> Self {
        Self::of(request.send().await.expect("an answer")).await
    }

    /// What comes behind the head.
    ///
    /// # Panics
    /// If it does not come whole.
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a body") }
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// The SQLSTATE of an error.
    ///
    /// # Panics
    /// If it is none.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("an error, not {self:?}")).to_owned()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }
}
