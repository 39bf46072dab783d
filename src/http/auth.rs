//! Who is asking: an operator by bearer token or session, a source by bearer token or signature. A
//! session alone never changes anything through the API: it needs the token that only our pages know.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode, header};

use crate::core::ids::OperatorName;

use super::Http;
use super::access::{OperatorAccess, Role, SourceAccess, SourceSecret};
use super::error::ApiError;
use super::session;

/// The operator of an API request, allowed what `role` may do.
pub async fn operator(
    http: &Http,
    request: &HttpRequest,
    role: Role,
) -> Result<OperatorName, ApiError> {
    let operator = match bearer(request) {
        Some(token) => http.access().operator_by_token(token).cloned(),
        None => by_session(http, request).await?,
    };
    let operator = operator.ok_or_else(|| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "expected Authorization: Bearer with an operator's token",
        )
    })?;
    require(&operator, role)?;
    Ok(operator.name)
}

async fn by_session(
    http: &Http,
    request: &HttpRequest,
) -> Result<Option<OperatorAccess>, ApiError> {
    let Some(session) = session::of(http, request).await? else {
        return Ok(None);
    };
    let given = request
        .headers()
        .get("x-csrf-token")
        .and_then(|v| v.to_str().ok());
    if request.method() != Method::GET && !session.csrf_is(given.unwrap_or_default()) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "a session needs its X-CSRF-Token to change anything; scripts use a bearer token",
        ));
    }
    Ok(Some(session.operator))
}

/// 403 naming the role that is missing.
pub fn require(operator: &OperatorAccess, role: Role) -> Result<(), ApiError> {
    if operator.may(role) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "this needs the role {}, which {} has not",
            role.name(),
            operator.name
        ),
    ))
}

/// The source of an ingest request. The body is needed because a signature covers it.
pub fn source(http: &Http, request: &HttpRequest, body: &[u8]) -> Result<SourceAccess, ApiError> {
    let access = http.access();
    let found = match bearer(request) {
        Some(token) => access.source_by_token(token),
        None => signed(http, request, body, &access.sources),
    };
    found.cloned().ok_or_else(unknown_source)
}

/// Whether a request brings anything that could make it a source's, before its body is read.
pub fn has_credentials(request: &HttpRequest) -> Result<(), ApiError> {
    if bearer(request).is_some() || request.headers().contains_key("webhook-signature") {
        return Ok(());
    }
    Err(unknown_source())
}

fn unknown_source() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "expected Authorization: Bearer with a source's token, or its webhook signature",
    )
}

fn signed<'a>(
    http: &Http,
    request: &HttpRequest,
    body: &[u8],
    sources: &'a [SourceAccess],
) -> Option<&'a SourceAccess> {
    let text = |name: &str| request.headers().get(name)?.to_str().ok();
    let (id, at, signature) = (
        text("webhook-id")?,
        text("webhook-timestamp")?,
        text("webhook-signature")?,
    );
    let now = http.now();
    sources.iter().find(|source| match &source.secret {
        SourceSecret::Hmac(secret) => {
            (http.formats.verify_webhook)(secret, id, at, signature, body, now)
        }
        SourceSecret::Bearer(_) | SourceSecret::None => false,
    })
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
