//! Sign-in with an operator's token, and sign-out. The token is only compared: the session has a secret
//! of its own.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;

use super::form::Form;
use super::{Frame, plain_error, render, see_other};
use crate::http::{Http, session};

#[derive(Template)]
#[template(path = "operator/login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    error: Option<&'static str>,
}

fn page(next: &str, error: Option<&'static str>) -> LoginPage {
    LoginPage {
        frame: Frame {
            title: "Sign in".to_owned(),
            operator: None,
            csrf: String::new(),
            here: "",
            auto: false,
        },
        next: local(next).to_owned(),
        error,
    }
}

/// Only addresses of ours: `//evil.example` and `/\evil.example` are other sites to a browser.
fn local(next: &str) -> &str {
    let is_local = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.contains(|c: char| c.is_control());
    if is_local { next } else { "/" }
}

/// `GET /login`.
pub async fn form(request: HttpRequest) -> HttpResponse {
    let query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let next = query.into_iter().find(|(name, _)| name == "next");
    let next = next.map_or_else(|| "/".to_owned(), |(_, value)| value.into_owned());
    render(StatusCode::OK, &page(&next, None))
}

/// `POST /login`.
pub async fn sign_in(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let form = match Form::read(&request, &mut payload).await {
        Ok(form) => form,
        Err(error) => return plain_error(&error),
    };
    let next = form.get("next");
    let access = http.access();
    let Some(operator) = access.operator_by_token(form.get("token").trim()) else {
        metrics::counter!("securitybot_sign_in_refused_total").increment(1);
        let error = Some("That token is not an operator's.");
        return render(StatusCode::UNAUTHORIZED, &page(next, error));
    };
    match session::open(&http, operator).await {
        Ok(cookie) => {
            tracing::info!(operator = %operator.name, "an operator signed in");
            HttpResponse::SeeOther()
                .insert_header((header::SET_COOKIE, cookie))
                .insert_header((header::LOCATION, local(next)))
                .finish()
        }
        Err(error) => plain_error(&error),
    }
}

/// `POST /logout`.
pub async fn sign_out(
    http: web::Data<Http>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> HttpResponse {
    let form = match Form::read(&request, &mut payload).await {
        Ok(form) => form,
        Err(error) => return plain_error(&error),
    };
    match session::of(&http, &request).await {
        Ok(Some(live)) if live.csrf_is(form.get("csrf")) => {}
        Ok(Some(_)) | Err(_) => return see_other("/"),
        Ok(None) => return see_other("/login"),
    }
    match session::end(&http, &request).await {
        Ok(cookie) => HttpResponse::SeeOther()
            .insert_header((header::SET_COOKIE, cookie))
            .insert_header((header::LOCATION, "/login"))
            .finish(),
        Err(error) => plain_error(&error),
    }
}
