//! The page behind a one-time enrolment link: an employee sets up an authenticator app without anybody else seeing the
//! seed. The link is used up only by a right code, so a failed try locks nobody out.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use qrcode::QrCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::actors::mailbox::Mailbox;
use crate::actors::messages::Deliver;
use crate::core::conversation::event::Enroller;
use crate::core::conversation::{Event, Proof};
use crate::core::ids::{AggregateKey, EmployeeId, OperatorName};
use crate::plugins::chat::web::tokens::{TokenError, Tokens, digest, fresh};
use crate::plugins::chat::web::web_page::{Notice, page, style_sheet};
use crate::plugins::chat::web::{Clock, is_same_origin};
use crate::plugins::factors::CodeFactor;
use crate::store::Store;

/// Long enough for somebody who reads it after work.
const LINK_LIVES: Duration = Duration::from_secs(24 * 3600);
/// How long the page waits for the commit.
const COMMIT_WITHIN: Duration = Duration::from_secs(10);
/// The form holds one sealed seed, one address and one code.
const MOST_BYTES: usize = 8 * 1024;
const STYLE_SHEET: &str = "/enroll/static/chat.css";

/// Makes enrolment links and serves their pages under `/enroll`.
pub struct Enroll {
    links: Tokens,
    conversations: Mailbox<Deliver>,
    factor: Arc<dyn CodeFactor>,
    clock: Clock,
    partitions: u16,
    public_url: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    employee: EmployeeId,
    made_by: OperatorName,
}

/// The form with its code; all missing when the page has only been opened.
struct Posted {
    sealed: String,
    uri: SecretString,
    code: SecretString,
}

impl Posted {
    fn parse(body: &[u8]) -> Option<Self> {
        let field = |name: &str| {
            url::form_urlencoded::parse(body)
                .find(|(found, _)| found == name)
                .map(|(_, value)| value.into_owned())
        };
        let mut code = field("code")?;
        // As apps show it: 123 456.
        code.retain(|c| !c.is_whitespace() && c != '-');
        Some(Self {
            sealed: field("sealed")?,
            uri: field("uri")?.into(),
            code: code.into(),
        })
    }
}

#[derive(Template)]
#[template(path = "enroll.html", config = "src/plugins/chat/web/askama.toml")]
struct EnrollView<'a> {
    style_sheet: &'a str,
    action: String,
    qr: String,
    secret: String,
    sealed: &'a str,
    uri: &'a str,
    error: &'a str,
}

impl Enroll {
    pub fn new(
        store: Arc<dyn Store>,
        conversations: Mailbox<Deliver>,
        factor: Arc<dyn CodeFactor>,
        clock: Clock,
        partitions: u16,
        public_url: &str,
    ) -> Self {
        Self {
            links: Tokens::new(store, "enrol"),
            conversations,
            factor,
            clock,
            partitions,
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }

    /// `{public_url}/enroll/{token}`, good for one enrolment within a day. The caller has checked that the
    /// employee exists.
    pub async fn new_link(
        &self,
        employee: &EmployeeId,
        made_by: OperatorName,
    ) -> Result<String, TokenError> {
        let (token, now) = (fresh(), (self.clock)());
        let link = Link {
            employee: employee.clone(),
            made_by,
        };
        self.links
            .put(&token, &link, now, now.after(LINK_LIVES))
            .await?;
        Ok(format!("{}/enroll/{token}", self.public_url))
    }

    async fn link(&self, token: &str) -> Result<Option<Link>, TokenError> {
        self.links.get(token, (self.clock)()).await
    }

    /// A right code: the link is used up for this seed, then the enrolment is delivered. A repeat with the same seed
    /// (after an outage in between) delivers it again.
    async fn finish(&self, token: &str, link: Link, sealed: String) -> HttpResponse {
        let now = (self.clock)();
        let marker_lives = now.after(LINK_LIVES * 2);
        let (seed, done) = (digest(&[&sealed]), format!("{token}/done"));
        match self.links.spend(token, &seed, now, marker_lives).await {
            Ok(None) => {}
            Ok(Some(other)) if other != seed => return link_is_over(),
            Ok(Some(_)) => match self.links.spent(&done, now).await {
                Ok(Some(_)) => return enrolled(),
                Ok(None) => {}
                Err(error) => return unavailable(&error),
            },
            Err(error) => return unavailable(&error),
        }
        let deliver = Deliver {
            to: AggregateKey::employee(&link.employee, self.partitions),
            event: Event::FactorEnrolled {
                by: Enroller::Link {
                    made_by: link.made_by,
                },
                factor: self.factor.name().to_owned(),
                sealed_seed: sealed,
            },
        };
        match self.conversations.ask(deliver, COMMIT_WITHIN).await {
            Ok(Ok(_)) => {
                if let Err(error) = self.links.spend(&done, "done", now, marker_lives).await {
                    tracing::warn!(%error, "a finished enrolment could not be noted");
                }
                enrolled()
            }
            Ok(Err(error)) => unavailable(&error),
            Err(error) => unavailable(&error),
        }
    }

    fn form(
        &self,
        status: StatusCode,
        token: &str,
        sealed: &str,
        uri: &str,
        error: &str,
    ) -> HttpResponse {
        let Ok(qr) = QrCode::new(uri) else {
            return unavailable(&"the enrolment address does not fit a QR code");
        };
        let svg = qr
            .render::<qrcode::render::svg::Color>()
            .quiet_zone(false)
            .build();
        // Inside a page there is no XML declaration.
        let svg = svg.split_once("?>").map_or(svg.as_str(), |(_, svg)| svg);
        page(
            status,
            &EnrollView {
                style_sheet: STYLE_SHEET,
                action: format!("/enroll/{token}"),
                qr: svg.to_owned(),
                secret: secret_of(uri),
                sealed,
                uri,
                error,
            },
        )
    }
}

/// The routes under `/enroll`.
pub fn configure(cfg: &mut web::ServiceConfig, enroll: web::Data<Enroll>) {
    cfg.service(
        web::scope("/enroll")
            .app_data(enroll)
            .app_data(web::PayloadConfig::new(MOST_BYTES))
            .route("/static/chat.css", web::get().to(style_sheet))
            .route("/{token}", web::get().to(show))
            .route("/{token}", web::post().to(post)),
    );
}

/// Changes nothing, so link previews are harmless.
async fn show(enroll: web::Data<Enroll>, token: web::Path<String>) -> HttpResponse {
    let spent = enroll.links.spent(&token, (enroll.clock)()).await;
    match (enroll.link(&token).await, spent) {
        (Ok(Some(link)), Ok(None)) => page(
            StatusCode::OK,
            &Notice {
                style_sheet: STYLE_SHEET,
                title: "Set up your authenticator app",
                paragraphs: &[
                    &format!(
                        "Hi {}! With an authenticator app on your phone you confirm that an answer really comes from you. It takes two minutes.",
                        link.employee
                    ),
                    "Have your phone at hand. Nobody else should see the next page.",
                ],
                button: Some((&format!("/enroll/{token}"), "Start")),
                link: None,
            },
        ),
        (Err(error), _) | (_, Err(error)) => unavailable(&error),
        _ => link_is_over(),
    }
}

async fn post(
    req: HttpRequest,
    enroll: web::Data<Enroll>,
    token: web::Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    if !is_same_origin(&req, &enroll.public_url) {
        return page(
            StatusCode::FORBIDDEN,
            &notice(
                "That didn't come from this page",
                &["Please open your link again."],
            ),
        );
    }
    let link = match enroll.link(&token).await {
        Ok(Some(link)) => link,
        Ok(None) => return link_is_over(),
        Err(error) => return unavailable(&error),
    };
    let Some(Posted { sealed, uri, code }) = Posted::parse(&body) else {
        match enroll.links.spent(&token, (enroll.clock)()).await {
            Ok(None) => {}
            Ok(Some(_)) => return link_is_over(),
            Err(error) => return unavailable(&error),
        }
        let fresh = enroll.factor.enroll(&link.employee, link.employee.as_str());
        let uri = fresh.otpauth_uri.expose_secret();
        return enroll.form(StatusCode::OK, &token, &fresh.sealed_seed, uri, "");
    };
    let again = |error| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        enroll.form(status, &token, &sealed, uri.expose_secret(), error)
    };
    match enroll.factor.check(&link.employee, &sealed, &code).await {
        Proof::Totp { step: Some(_) } => enroll.finish(&token, link, sealed).await,
        Proof::Totp { step: None } => again(
            "That code didn't match. Codes change every 30 seconds, please try the one your app shows now.",
        ),
        Proof::Unavailable { .. } => again(
            "I can't check codes right now. That's on our side, please try again in a minute.",
        ),
    }
}

/// The key as people type it: groups of four.
fn secret_of(uri: &str) -> String {
    let secret = url::Url::parse(uri).ok().and_then(|uri| {
        uri.query_pairs()
            .find(|(name, _)| name == "secret")
            .map(|(_, secret)| secret.into_owned())
    });
    let letters: Vec<char> = secret.unwrap_or_default().chars().collect();
    let groups: Vec<String> = letters
        .chunks(4)
        .map(|group| group.iter().collect())
        .collect();
    groups.join(" ")
}

fn notice<'a>(title: &'a str, paragraphs: &'a [&'a str]) -> Notice<'a> {
    Notice {
        style_sheet: STYLE_SHEET,
        title,
        paragraphs,
        button: None,
        link: None,
    }
}

fn enrolled() -> HttpResponse {
    page(
        StatusCode::OK,
        &notice(
            "All set, thank you!",
            &[
                "Your authenticator app is ready. From now on its codes confirm your answers. You can close this page.",
            ],
        ),
    )
}

fn link_is_over() -> HttpResponse {
    page(
        StatusCode::GONE,
        &notice(
            "This link has done its work",
            &[
                "Enrolment links work once and for a day.",
                "Please ask the security team for a new one (they run “securitybot enroll --link” with your name).",
            ],
        ),
    )
}

fn unavailable(error: &dyn std::fmt::Display) -> HttpResponse {
    tracing::warn!(%error, "an enrolment could not go on");
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        &notice(
            "One moment, please",
            &[
                "Something is down on our side, and nothing is lost. Please go back and press the button again in a minute.",
            ],
        ),
    )
}
