//! How every page for employees leaves the service: escaped by askama, with headers under which a script that slipped
//! in could not run.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use askama::Template;

pub const STYLE_SHEET: &str = include_str!("static/chat.css");
pub const SCRIPT: &str = include_str!("static/chat.js");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page of text with at most one link or button.
#[derive(Template)]
#[template(path = "notice.html", config = "src/plugins/chat/web/askama.toml")]
pub struct Notice<'a> {
    pub style_sheet: &'a str,
    pub title: &'a str,
    pub paragraphs: &'a [&'a str],
    /// A form that is posted to this path by a button of this label.
    pub button: Option<(&'a str, &'a str)>,
    /// Path and label.
    pub link: Option<(&'a str, &'a str)>,
}

pub fn page(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => secured(status)
            .content_type("text/html; charset=utf-8")
            .body(html),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            secured(StatusCode::INTERNAL_SERVER_ERROR)
                .body("Something went wrong on our side, please try again.")
        }
    }
}

/// An answer with the headers that every answer to a browser has.
pub fn secured(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // `no-referrer` would make browsers send `Origin: null` with our own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.insert_header((name, HeaderValue::from_static(value)));
    }
    response
}

pub fn see_other(path: &str) -> HttpResponse {
    secured(StatusCode::SEE_OTHER)
        .insert_header((header::LOCATION, path))
        .finish()
}

pub async fn style_sheet() -> HttpResponse {
    asset("text/css; charset=utf-8", STYLE_SHEET)
}

pub async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

fn asset(kind: &str, text: &'static str) -> HttpResponse {
    secured(StatusCode::OK)
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .content_type(kind)
        .body(text)
}
