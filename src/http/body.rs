//! Request bodies with a bound on size and depth, so that no request can eat the memory or the stack:
//! a large body is refused without being kept, deep nesting before any parser sees it.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use actix_web::web::{BytesMut, Payload};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Operators' requests are a reason or a note.
pub const MAX_FORM_BYTES: usize = 64 * 1024;
/// Deeper than any producer nests; far below what a recursive parser survives.
pub const MAX_DEPTH: usize = 64;
/// What is thrown away of a refused body so that the sender reads our answer instead of a reset.
const MAX_DRAIN_BYTES: usize = 32 * 1024 * 1024;
const MAX_DRAIN_TIME: Duration = Duration::from_secs(5);
/// A body that trickles in longer than this holds a connection for nothing.
const MAX_READ_TIME: Duration = Duration::from_secs(30);

/// The whole body, at most `max` bytes; 413 beyond, 400 when it breaks off, 408 when it never ends.
pub async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
    max: usize,
) -> Result<BytesMut, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        drain(payload).await;
        return Err(too_large(max));
    }
    let mut body = BytesMut::new();
    let reading = async {
        while let Some(chunk) = payload.next().await {
            let chunk =
                chunk.map_err(|_| ApiError::bad_request("the body broke off before its end"))?;
            if body.len() + chunk.len() > max {
                return Err(too_large(max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(MAX_READ_TIME, reading).await {
        Ok(Ok(())) => Ok(body),
        Ok(Err(error)) => {
            if error.status == StatusCode::PAYLOAD_TOO_LARGE {
                drain(payload).await;
            }
            Err(error)
        }
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive within 30 seconds",
        )),
    }
}

async fn drain(payload: &mut Payload) {
    let draining = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = payload.next().await {
            seen += chunk.len();
            if seen > MAX_DRAIN_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(MAX_DRAIN_TIME, draining).await;
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is larger than {max} bytes"),
    )
}

/// 415 unless the body says that it is JSON.
pub fn require_json(request: &HttpRequest) -> Result<(), ApiError> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "expected Content-Type: application/json",
    ))
}

/// An operator's JSON request; a missing body is an empty object.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<T, ApiError> {
    let body = read(request, payload, MAX_FORM_BYTES).await?;
    if !body.is_empty() {
        require_json(request)?;
    }
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    check_depth(text)?;
    serde_json::from_slice(text)
        .map_err(|error| ApiError::bad_request(format!("the body is not as expected: {error}")))
}

/// 400 when JSON brackets nest deeper than [`MAX_DEPTH`].
pub fn check_depth(body: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(ApiError::bad_request(format!(
                        "malformed JSON: nested deeper than {MAX_DEPTH} levels"
                    )));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
