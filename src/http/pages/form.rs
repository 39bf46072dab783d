//! Form posts of our own pages; those of other sites are refused before they are read.

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use actix_web::web::Payload;

use crate::http::body;
use crate::http::error::ApiError;

pub struct Form(Vec<(String, String)>);

impl Form {
    pub async fn read(request: &HttpRequest, payload: &mut Payload) -> Result<Self, ApiError> {
        same_origin(request)?;
        let body = body::read(request, payload, body::MAX_FORM_BYTES).await?;
        let pairs = url::form_urlencoded::parse(&body)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Ok(Self(pairs))
    }

    /// Empty when it is missing.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }
}

/// Browsers say where a post comes from; the sign-in has no session whose token could be checked.
fn same_origin(request: &HttpRequest) -> Result<(), ApiError> {
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let fetched_here = match text("sec-fetch-site") {
        Some(site) => site == "same-origin" || site == "none",
        None => match (text("origin"), text(header::HOST.as_str())) {
            (Some(origin), Some(host)) => origin
                .split_once("://")
                .is_some_and(|(_, from)| from == host),
            _ => true,
        },
    };
    if fetched_here {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "this form was sent from another site",
    ))
}
