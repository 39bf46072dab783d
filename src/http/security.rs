//! What every answer carries: a request id in the logs, and headers that keep a browser from running,
//! sniffing, framing or caching anything. Bodies, tokens and query strings are never logged.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use tracing::Instrument;

/// No script at all: the operator pages work without.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const REQUEST_ID: &str = "x-request-id";

/// Wraps every resource of this module; may wrap a whole `App` as well: headers that a handler has
/// set itself stay.
pub async fn layer(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = hex::encode(rand::random::<[u8; 8]>());
    let method = request.method().clone();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let span = tracing::info_span!("http", request = %id, %method, route);
    let result = next.call(request).instrument(span.clone()).await;
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            count(&method, &route, error.as_response_error().status_code());
            return Err(error);
        }
    };
    count(&method, &route, response.status());
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static(REQUEST_ID), id);
    }
    default(headers, header::CONTENT_SECURITY_POLICY, POLICY);
    default(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(headers, header::X_FRAME_OPTIONS, "DENY");
    default(headers, header::REFERRER_POLICY, "no-referrer");
    default(headers, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

fn default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn count(method: &actix_web::http::Method, route: &str, status: actix_web::http::StatusCode) {
    metrics::counter!(
        "securitybot_http_requests_total",
        "method" => method.to_string(),
        "route" => route.to_owned(),
        "status" => status.as_u16().to_string(),
    )
    .increment(1);
}
