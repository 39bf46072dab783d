//! Slack's Web API, as little of it as we need. Whether a call may have been taken is told apart here, because a question
//! that is asked twice and one that is never asked are both broken promises.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::core::text::Untrusted;
use crate::plugins::chat::ChatError;
use crate::plugins::outgoing::{describe, http_client_with};

use super::pace::{Limit, Pace};

/// Slack answers in well under a second; the Messenger gives a send 20 s in all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// When a 429 does not say for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Two people refused within this time: it is the workspace that is limited.
const SAME_STORM: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    RateLimited(Duration),
    /// It never left.
    NotSent(String),
    /// It may have been taken.
    Unclear(String),
    /// Our token, or a permission of it, is not good (any more).
    Auth(String),
    /// Not taken; Slack's word for why.
    Said(String),
}

impl ApiError {
    pub fn text(&self) -> String {
        match self {
            Self::RateLimited(wait) => format!("Slack asks to wait {} s", wait.as_secs()),
            Self::NotSent(why) | Self::Unclear(why) => why.clone(),
            Self::Auth(code) => {
                format!(
                    "Slack refuses our token or a permission of it ({code}): check bot_token and the app's scopes"
                )
            }
            Self::Said(code) => format!("Slack said {code}"),
        }
    }

    /// As the Messenger needs it.
    pub fn into_chat(self) -> ChatError {
        let text = self.text();
        match self {
            Self::RateLimited(wait) => ChatError::RateLimited(wait),
            Self::NotSent(_) | Self::Auth(_) => ChatError::Unavailable(text),
            Self::Unclear(_) => ChatError::Unclear(text),
            Self::Said(code) => match code.as_str() {
                "channel_not_found"
                | "user_not_found"
                | "users_not_found"
                | "user_not_visible"
                | "user_disabled"
                | "cannot_dm_bot"
                | "is_archived"
                | "not_in_channel"
                | "messages_tab_disabled" => ChatError::Gone(text),
                code if is_final(code) => ChatError::Refused(text),
                _ => ChatError::Unavailable(text),
            },
        }
    }
}

/// Sending the same again cannot help.
fn is_final(code: &str) -> bool {
    code.starts_with("invalid_")
        || code.ends_with("_too_long")
        || code.ends_with("_too_large")
        || matches!(
            code,
            "no_text"
                | "too_many_attachments"
                | "message_not_found"
                | "cant_update_message"
                | "edit_window_closed"
                | "restricted_action"
                | "metadata_must_be_sent_from_app"
        )
}

fn is_auth(code: &str) -> bool {
    matches!(
        code,
        // `account_inactive` is said of a token whose app or workspace is gone, not of the person written to.
        "invalid_auth"
            | "not_authed"
            | "token_revoked"
            | "token_expired"
            | "account_inactive"
            | "missing_scope"
            | "no_permission"
            | "not_allowed_token_type"
            | "org_login_required"
            | "ekm_access_denied"
            | "access_denied"
            | "team_access_not_granted"
            | "two_factor_setup_required"
    )
}

/// Slack had trouble of its own: nobody knows what became of it.
fn is_unclear(code: &str) -> bool {
    matches!(
        code,
        "internal_error"
            | "fatal_error"
            | "request_timeout"
            | "service_unavailable"
            | "team_added_to_org"
    )
}

pub(super) struct Api {
    client: Client,
    base: Url,
    bot_token: SecretString,
    app_token: Option<SecretString>,
    pub pace: Pace,
    /// The last refusal of a message, to tell a limited person from a limited workspace.
    refused: Mutex<Option<(String, Instant)>>,
    /// What was wrong with the last call.
    trouble: Mutex<Option<String>>,
}

/// How a method takes its arguments: the reading ones know forms only.
pub(super) enum Arguments<'a> {
    Json(Value),
    Form(Vec<(&'a str, String)>),
}

impl Api {
    pub fn new(base: &Url, bot_token: SecretString, app_token: Option<SecretString>) -> Self {
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Self {
            client: http_client_with(TIMEOUT),
            base,
            bot_token,
            app_token,
            pace: Pace::default(),
            refused: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// One call, paced by `limits`; the first of them is whom a 429 silences, without one the method.
    pub async fn call(
        &self,
        method: &str,
        arguments: Arguments<'_>,
        limits: &[Limit],
    ) -> Result<Value, ApiError> {
        let own = [Limit::unpaced(method)];
        let limits = if limits.is_empty() { &own } else { limits };
        self.pace
            .turn(limits)
            .await
            .map_err(ApiError::RateLimited)?;
        let result = self.post(method, arguments, &self.bot_token).await;
        for limit in limits {
            self.pace.answered(limit);
        }
        if let (Err(ApiError::RateLimited(wait)), Some(limit)) = (&result, limits.first()) {
            metrics::counter!("securitybot_slack_429_total").increment(1);
            tracing::warn!(method, wait_s = wait.as_secs(), "Slack asks to wait");
            self.silence(limit, limits.last(), *wait);
        }
        // Slack's word about one message or person says nothing about how Slack is.
        let trouble = match &result {
            Ok(_) | Err(ApiError::Said(_)) => None,
            Err(error) => Some(error.text()),
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        result
    }

    fn silence(&self, whom: &Limit, everybody: Option<&Limit>, wait: Duration) {
        self.pace.block(&whom.key, wait);
        let now = Instant::now();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let storm = refused.as_ref().is_some_and(|(key, at)| {
            *key != whom.key && now.saturating_duration_since(*at) < SAME_STORM
        });
        if let (true, Some(everybody)) = (storm, everybody) {
            self.pace.block(&everybody.key, wait);
        }
        *refused = Some((whom.key.clone(), now));
    }

    /// A file's bytes, to the place that Slack named for them. Our token does not go there.
    pub async fn upload(&self, url: &str, bytes: Vec<u8>) -> Result<(), ApiError> {
        let sent = self
            .client
            .post(url)
            .header("content-type", "application/octet-stream")
            .body(bytes)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(ApiError::Unclear(format!("upload: {}", answer.status()))),
            Err(error) => Err(ApiError::Unclear(format!("upload: {}", describe(error)))),
        }
    }

    /// The address of a new Socket Mode connection.
    pub async fn open_socket(&self) -> Result<String, ApiError> {
        let token = self
            .app_token
            .as_ref()
            .ok_or_else(|| ApiError::Auth("no app_token".to_owned()))?;
        let method = "apps.connections.open";
        let own = [Limit::unpaced(method)];
        let turn = self.pace.turn(&own).await;
        turn.map_err(ApiError::RateLimited)?;
        let arguments = Arguments::Form(Vec::new());
        let answer = self.post(method, arguments, token).await;
        if let Err(ApiError::RateLimited(wait)) = &answer {
            self.pace.block(method, *wait);
        }
        let answer = answer?;
        match answer["url"].as_str() {
            Some(url) => Ok(url.to_owned()),
            None => Err(ApiError::Unclear("Slack gave no address".to_owned())),
        }
    }

    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    async fn post(
        &self,
        method: &str,
        arguments: Arguments<'_>,
        token: &SecretString,
    ) -> Result<Value, ApiError> {
        let url = self
            .base
            .join(method)
            .map_err(|error| ApiError::NotSent(error.to_string()))?;
        let (kind, body) = match arguments {
            Arguments::Json(json) => ("application/json; charset=utf-8", json.to_string()),
            Arguments::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields);
                ("application/x-www-form-urlencoded", form.finish())
            }
        };
        let request = self
            .client
            .post(url)
            .bearer_auth(token.expose_secret())
            .header("content-type", kind)
            .body(body);
        let answer = request.send().await.map_err(|error| {
            let never_left = error.is_connect() || error.is_builder();
            let text = format!("{method}: {}", describe(error));
            match never_left {
                true => ApiError::NotSent(text),
                false => ApiError::Unclear(text),
            }
        })?;
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let asked = answer.headers().get("retry-after");
            let wait = asked
                .and_then(|value| value.to_str().ok()?.trim().parse().ok())
                .map_or(DEFAULT_WAIT, Duration::from_secs);
            return Err(ApiError::RateLimited(
                wait.clamp(Duration::from_secs(1), LONGEST_WAIT),
            ));
        }
        let body = answer.bytes().await;
        let unclear = |what: &str| ApiError::Unclear(format!("{method}: {what} ({status})"));
        let answer: Value = match body {
            _ if status.is_server_error() => return Err(unclear("Slack had an error")),
            Ok(body) => {
                serde_json::from_slice(&body).map_err(|_| unclear("the answer is not JSON"))?
            }
            Err(error) => {
                return Err(ApiError::Unclear(format!("{method}: {}", describe(error))));
            }
        };
        if answer["ok"] == true {
            return Ok(answer);
        }
        let code = Untrusted::from(answer["error"].as_str().unwrap_or("no reason")).line(80);
        Err(match code.as_str() {
            "ratelimited" | "rate_limited" => ApiError::RateLimited(DEFAULT_WAIT),
            code if is_auth(code) => ApiError::Auth(code.to_owned()),
            code if is_unclear(code) => ApiError::Unclear(format!("{method}: {code}")),
            _ => ApiError::Said(code),
        })
    }
}
