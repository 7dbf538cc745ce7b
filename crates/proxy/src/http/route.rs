//! Which request goes where, and what is done to all of them: CORS before, compression behind.

use std::sync::Weak;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::caller::Carrier;
use super::{Service, asking, sql, websocket};
use crate::config::{Http, Origins};

/// Bytes from which an answer is compressed: below, it costs more than it saves.
const WORTH_COMPRESSING: u16 = 1024;

/// How long a browser may remember what it was allowed.
const ALLOWED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What is told of a failed request besides its body, and pages may read.
const EXPOSED: [HeaderName; 2] = [header::RETRY_AFTER, header::WWW_AUTHENTICATE];

/// The routes. The service holds them, and they hold it weakly.
pub(super) fn routes(service: Weak<Service>, config: &Http) -> Router {
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(WORTH_COMPRESSING));
    let routes = Router::new()
        .route("/sql", post(answer_sql))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .with_state(service)
        .layer(compression);
    match cors(&config.origins) {
        Some(cors) => routes.layer(cors),
        None => routes,
    }
}

/// What pages of other origins may do; nothing is said of that where none may do anything.
fn cors(origins: &Origins) -> Option<CorsLayer> {
    let origins = match origins {
        Origins::Any => AllowOrigin::any(),
        Origins::These(origins) if origins.is_empty() => return None,
        Origins::These(origins) => AllowOrigin::list(origins.iter().cloned()),
    };
    let cors = CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]).max_age(ALLOWED_FOR);
    Some(cors.allow_headers(asking::headers()).expose_headers(EXPOSED))
}

async fn answer_sql(
    State(service): State<Weak<Service>>,
    Extension(carrier): Extension<Carrier>,
    request: Request,
) -> Response {
    match service.upgrade() {
        Some(service) => sql::answer(&service, carrier, request).await,
        // Nobody is there to ask any more.
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn wrong_method(service: State<Weak<Service>>, request: Request) -> Response {
    match taken_as_websocket(service, request) {
        Some(response) => response,
        None => (StatusCode::METHOD_NOT_ALLOWED, "/sql takes POST\n").into_response(),
    }
}

async fn elsewhere(service: State<Weak<Service>>, request: Request) -> Response {
    match taken_as_websocket(service, request) {
        Some(response) => response,
        None => (StatusCode::NOT_FOUND, "there is POST /sql, and WebSockets are taken on any path\n").into_response(),
    }
}

/// Whatever is not a request to `/sql` may ask for a WebSocket.
fn taken_as_websocket(State(service): State<Weak<Service>>, request: Request) -> Option<Response> {
    websocket::is_asked_for(&request).then(|| match service.upgrade() {
        Some(service) => websocket::answer(&service, request),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    })
}
