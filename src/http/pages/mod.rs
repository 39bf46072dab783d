//! The operators' pages: plain, server-rendered, whole without JavaScript. A GET never changes state;
//! a POST needs the session's CSRF token and answers with a redirect to what it changed.

pub mod case;
mod form;
mod joined;
pub mod list;
pub mod lists;
pub mod login;
pub mod rollups;
mod view;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::access::Role;
use super::error::ApiError;
use super::session::{self, Session};
use super::{Http, auth};

const STYLE: &str = include_str!("operator.css");
/// The style changes with a release only.
const STYLE_CACHE: &str = "public, max-age=3600";

/// What the frame around every page shows.
pub struct Frame {
    pub title: String,
    /// `None` on the sign-in page.
    pub operator: Option<String>,
    pub csrf: String,
    /// Which entry of the navigation this is.
    pub here: &'static str,
    /// Reload every half minute.
    pub auto: bool,
}

impl Frame {
    fn new(title: impl Into<String>, here: &'static str, session: &Session) -> Self {
        Self {
            title: title.into(),
            operator: Some(session.operator.name.to_string()),
            csrf: session.csrf.clone(),
            here,
            auto: false,
        }
    }
}

#[derive(Template)]
#[template(path = "operator/message.html")]
struct MessagePage {
    frame: Frame,
    text: String,
    back: String,
}

/// The session of a page request, or the way to the sign-in.
async fn enter(http: &Http, request: &HttpRequest) -> Result<Session, HttpResponse> {
    match session::of(http, request).await {
        Ok(Some(session)) => Ok(session),
        Ok(None) => {
            let wanted = match request.method().as_str() {
                "GET" => request
                    .uri()
                    .path_and_query()
                    .map_or("/", |uri| uri.as_str()),
                _ => "/",
            };
            let next: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            Err(see_other(&format!("/login?next={next}")))
        }
        Err(error) => Err(plain_error(&error)),
    }
}

/// Renders a template, or says in plain words that it could not.
fn render(status: StatusCode, template: &impl Template) -> HttpResponse {
    match template.render() {
        Ok(html) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .body(html),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            plain_error(&ApiError::broken("the page could not be rendered"))
        }
    }
}

/// An error as a page, with the way back.
fn error_page(session: &Session, error: &ApiError, back: &str) -> HttpResponse {
    let title = match error.status {
        StatusCode::NOT_FOUND => "Not found",
        StatusCode::CONFLICT => "It no longer applies",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::BAD_REQUEST => "Something is missing",
        _ => "Please try again",
    };
    let page = MessagePage {
        frame: Frame::new(title, "", session),
        text: error.message.clone(),
        back: back.to_owned(),
    };
    render(error.status, &page)
}

fn plain_error(error: &ApiError) -> HttpResponse {
    HttpResponse::build(error.status)
        .content_type("text/plain; charset=utf-8")
        .body(error.message.clone())
}

fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, to))
        .finish()
}

/// Who may act, and with a token that only our page knows.
fn admit(session: &Session, form: &form::Form, role: Role) -> Result<(), ApiError> {
    if !session.csrf_is(form.get("csrf")) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "this form is not from your session; go back, reload the page and try again",
        ));
    }
    auth::require(&session.operator, role)
}

/// `GET /assets/operator.css`.
pub async fn stylesheet() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/css; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, STYLE_CACHE))
        .body(STYLE)
}
