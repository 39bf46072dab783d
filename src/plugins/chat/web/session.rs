//! Who is at the other end: sign-in by a one-time link, a session cookie, and the proof that a form came from our own
//! page. Only the session decides who somebody is (promise P5).

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::core::ids::{ChatIdentity, EmployeeId};
use crate::core::time::Timestamp;

use super::WebChat;
use super::tokens::{TokenError, digest, fresh};

/// A link travels through other channels, so it is short-lived.
pub const LINK_LIVES: Duration = Duration::from_secs(15 * 60);
/// A session that nobody uses ends overnight at the latest; no session outlives a month.
const IDLE: Duration = Duration::from_secs(12 * 3600);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Use is noted this often, not with every request.
const NOTE_USE_AFTER: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    employee: EmployeeId,
}

#[derive(Debug, Serialize, Deserialize)]
struct Session {
    employee: EmployeeId,
    created: Timestamp,
    seen: Timestamp,
}

/// The employee a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) identity: ChatIdentity,
    pub(super) name: String,
    pub(super) time_zone: String,
    /// Of this session alone, so it also names it in limits; not the cookie.
    pub(super) csrf: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("no employee is named {0}")]
    UnknownEmployee(EmployeeId),
    #[error("{employee} is asked in {chat}, not in the web chat")]
    OtherChat { employee: EmployeeId, chat: String },
    #[error(transparent)]
    Store(#[from] TokenError),
}

impl WebChat {
    /// A sign-in link for an employee: `{public_url}/chat/login/{token}`, good once and for 15 minutes.
    pub async fn new_link(&self, employee: &EmployeeId) -> Result<String, LinkError> {
        let identity = {
            let world = self.world.borrow();
            world.directory.identity_of(employee)
        };
        let identity = identity.ok_or_else(|| LinkError::UnknownEmployee(employee.clone()))?;
        if identity.chat != super::NAME {
            return Err(LinkError::OtherChat {
                employee: employee.clone(),
                chat: identity.chat,
            });
        }
        let (token, now) = (fresh(), self.now());
        let link = Link {
            employee: employee.clone(),
        };
        self.links
            .put(&token, &link, now, now.after(LINK_LIVES))
            .await?;
        Ok(format!("{}/chat/login/{token}", self.public_url))
    }

    /// The name of whom an unused link is for.
    pub(super) async fn look_at_link(&self, token: &str) -> Result<Option<String>, TokenError> {
        let now = self.now();
        let Some(link) = self.links.get::<Link>(token, now).await? else {
            return Ok(None);
        };
        if self.links.spent(token, now).await?.is_some() {
            return Ok(None);
        }
        let world = self.world.borrow();
        Ok(world
            .directory
            .get(&link.employee)
            .map(|employee| employee.name.to_string()))
    }

    /// Uses the link up; the cookie of the new session.
    pub(super) async fn sign_in(&self, token: &str) -> Result<Option<HeaderValue>, TokenError> {
        let now = self.now();
        let Some(link) = self.links.get::<Link>(token, now).await? else {
            return Ok(None);
        };
        let marker_lives = now.after(LINK_LIVES * 4);
        if self
            .links
            .spend(token, "used", now, marker_lives)
            .await?
            .is_some()
        {
            return Ok(None);
        }
        let (session_token, session) = (
            fresh(),
            Session {
                employee: link.employee,
                created: now,
                seen: now,
            },
        );
        self.sessions
            .put(&session_token, &session, now, now.after(IDLE))
            .await?;
        Ok(Some(self.cookie(&session_token, LONGEST)))
    }

    pub(super) async fn sign_out(&self, req: &HttpRequest) -> Result<HeaderValue, TokenError> {
        if let Some(token) = self.session_token(req) {
            self.sessions.forget(token).await?;
        }
        Ok(self.cookie("", Duration::ZERO))
    }

    /// Who sends this request; `None` without a live session of somebody who is still in the directory.
    pub(super) async fn visitor(&self, req: &HttpRequest) -> Result<Option<Visitor>, TokenError> {
        let (Some(token), now) = (self.session_token(req), self.now()) else {
            return Ok(None);
        };
        let Some(mut session) = self.sessions.get::<Session>(token, now).await? else {
            return Ok(None);
        };
        let end = session.created.after(LONGEST);
        if now >= end {
            return Ok(None);
        }
        let visitor = {
            let world = self.world.borrow();
            let employee = world.directory.get(&session.employee);
            employee.map(|employee| Visitor {
                identity: world.directory.identity(employee),
                name: employee.name.to_string(),
                time_zone: employee.time_zone.to_string(),
                csrf: digest(&["csrf", token]),
            })
        };
        let visitor = visitor.filter(|visitor| visitor.identity.chat == super::NAME);
        if visitor.is_some() && now.since(session.seen) >= NOTE_USE_AFTER {
            session.seen = now;
            let until = now.after(IDLE).min(end);
            if let Err(error) = self.sessions.put(token, &session, now, until).await {
                tracing::warn!(%error, "the use of a chat session could not be noted");
            }
        }
        Ok(visitor)
    }

    fn cookie_name(&self) -> &'static str {
        match self.secure {
            true => "__Host-securitybot_chat",
            false => "securitybot_chat",
        }
    }

    fn cookie(&self, value: &str, lives: Duration) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
            self.cookie_name(),
            lives.as_secs()
        );
        HeaderValue::try_from(cookie).expect("a token is base64")
    }

    fn session_token<'a>(&self, req: &'a HttpRequest) -> Option<&'a str> {
        req.headers()
            .get_all(header::COOKIE)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, _)| *name == self.cookie_name())
            .map(|(_, token)| token)
    }
}

impl Visitor {
    /// In constant time.
    pub(super) fn owns_form(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

/// `false` when the browser says that another site made this request.
pub fn is_same_origin(req: &HttpRequest, public_url: &str) -> bool {
    let text = |name: &str| req.headers().get(name).and_then(|v| v.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else {
        return true;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority == Some(req.connection_info().host()) || public_url.trim_end_matches('/') == origin
}
