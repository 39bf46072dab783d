//! The way to the running service, and what each way of not getting an answer means for the person
//! who typed the command.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::failure::Failure;
use crate::config::Config;
use crate::core::text::Untrusted;

/// A commit waits at most a few seconds; verifying a long journal is the slowest call.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A server that is there accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a message that the server sent.
const MAX_MESSAGE: usize = 500;

pub struct Api {
    client: reqwest::Client,
    server: String,
    token: SecretString,
}

impl Api {
    /// `server` and `token` as given on the command line; else the configuration says where the
    /// service is, and `data_dir` holds its token.
    pub fn new(
        config: &Config,
        server: Option<&str>,
        token: Option<&str>,
    ) -> Result<Self, Failure> {
        let server = server.unwrap_or(&config.server.public_url);
        let server = server.trim_end_matches('/').to_owned();
        if !url::Url::parse(&server).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            let message =
                format!("--server {server}: expected a URL such as http://127.0.0.1:8080");
            return Err(Failure::usage(message));
        }
        let token = match token {
            Some(token) => token.to_owned(),
            None => token_file(config)?,
        };
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Failure::failed(format!("no HTTP client can be made: {}", whole(&e))))?;
        Ok(Self {
            client,
            server,
            token: SecretString::from(token),
        })
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let (status, body) = self.call(Method::GET, path, None).await?;
        self.succeeded(status, body)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let (status, body) = self.call(Method::POST, path, Some(body)).await?;
        self.succeeded(status, body)
    }

    /// The answer whatever its status; for calls whose refusals have a meaning of their own.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server))
            .bearer_auth(self.token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok((
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        ))
    }

    /// The body of a success; every refusal as a line with what to do.
    pub fn succeeded(&self, status: StatusCode, body: Value) -> Result<Value, Failure> {
        if status.is_success() {
            return match body {
                Value::Null => Err(self.stranger()),
                body => Ok(body),
            };
        }
        let said = body["error"]
            .as_str()
            .map(|text| Untrusted::from(text).line(MAX_MESSAGE));
        let server = &self.server;
        Err(Failure::failed(match (status, said) {
            (StatusCode::UNAUTHORIZED, _) => format!(
                "{server} does not know this token: give an operator's with --token or SECURITYBOT_TOKEN"
            ),
            (StatusCode::FORBIDDEN, said) => format!(
                "this operator may not do that ({}): use the token of one who may",
                said.unwrap_or_else(|| "forbidden".to_owned())
            ),
            (StatusCode::SERVICE_UNAVAILABLE, said) => format!(
                "securitybot cannot do that now ({}): try again, or look at {server}/readyz",
                said.unwrap_or_else(|| "unavailable".to_owned())
            ),
            (_, Some(said)) => said,
            (_, None) => return Err(self.stranger()),
        }))
    }

    fn stranger(&self) -> Failure {
        Failure::failed(format!(
            "{} answers, but not like a securitybot: check --server",
            self.server
        ))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let server = &self.server;
        Failure::failed(if error.is_timeout() && !error.is_connect() {
            format!(
                "securitybot at {server} did not answer within {} s: see its log",
                TIMEOUT.as_secs()
            )
        } else if error.is_connect() {
            format!("no securitybot answers at {server}: start it with `securitybot run`")
        } else {
            format!("the connection to {server} broke: {}", whole(error))
        })
    }
}

fn token_file(config: &Config) -> Result<String, Failure> {
    let file = config.server.data_dir.join("token");
    let text = std::fs::read_to_string(&file).map_err(|e| {
        Failure::failed(format!(
            "no token: {} cannot be read ({e}); start `securitybot run` once, or give --token or SECURITYBOT_TOKEN",
            file.display()
        ))
    })?;
    Ok(text.trim().to_owned())
}

/// An error with its causes on one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// One segment of a path, or one value of a query.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
