//! Duo push through the Auth API v2 (<https://duo.com/docs/authapi>). Only one answer proves anything:
//! somebody pressed *Approve* on the phone. That Duo would let a user in by policy (bypass, a remembered
//! device) says nothing about who is at the keyboard, and is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha512};
use tokio::sync::Mutex;

use crate::core::conversation::{PushRequest, PushVerdict};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::plugins::Health;
use crate::plugins::outgoing::{self, Clock, Failure};

use super::{PushFactor, PushRefusal};

/// `/auth_status` holds its answer back until something changes, for up to a minute.
const LONG_POLL: Duration = Duration::from_secs(75);
/// How long a look at Duo's health stands.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Within the patience of whoever asks for the health, so that a Duo that hangs is remembered as well.
const HEALTH_WITHIN: Duration = Duration::from_secs(3);
/// The person looks at the form meanwhile.
const AT_ONCE: Duration = Duration::from_secs(10);
/// RFC 3986: what needs no encoding.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub struct DuoKeys {
    pub integration_key: SecretString,
    pub secret_key: SecretString,
    /// `api-xxxxxxxx.duosecurity.com`; it is part of every signature.
    pub host: String,
}

pub struct DuoFactor {
    keys: DuoKeys,
    base: String,
    client: Client,
    clock: Clock,
    /// When Duo was last looked at, and how it was.
    looked: Mutex<Option<(Timestamp, Health)>>,
}

impl DuoFactor {
    /// `api_url`: another address than `https://{host}` (a proxy, tests).
    pub fn new(keys: DuoKeys, api_url: Option<&str>, clock: Clock) -> Self {
        let base = match api_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}", keys.host),
        };
        Self {
            keys,
            base,
            client: outgoing::http_client_with(LONG_POLL),
            clock,
            looked: Mutex::new(None),
        }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        parameters: &BTreeMap<&str, String>,
        within: Duration,
    ) -> Result<Value, PushRefusal> {
        let date = rfc_2822((self.clock)());
        let query = canonical_parameters(parameters);
        let (query, body) = match method {
            "POST" => (
                String::new(),
                serde_json::to_string(parameters).expect("text by text is JSON"),
            ),
            _ => (query, String::new()),
        };
        let canonical = canonical(&date, method, &self.keys.host, path, &query, &body);
        let signature = sign(self.keys.secret_key.expose_secret(), &canonical);
        let user = self.keys.integration_key.expose_secret();
        let url = format!("{}{path}", self.base);
        let request = match method {
            "POST" => self
                .client
                .post(url)
                .header("content-type", "application/json")
                .body(body),
            _ if query.is_empty() => self.client.get(url),
            _ => self.client.get(format!("{url}?{query}")),
        };
        let request = request
            .timeout(within)
            .header("date", date)
            .header("authorization", basic(user, &signature));
        let answer = outgoing::send(request).await.map_err(refusal)?;
        let unreadable = |error: reqwest::Error| {
            PushRefusal::Unavailable(format!("Duo: {}", outgoing::describe(error)))
        };
        let body = answer.bytes().await.map_err(unreadable)?;
        let read: Value = serde_json::from_slice(&body)
            .map_err(|_| PushRefusal::Unavailable("Duo: its answer is no JSON".to_owned()))?;
        match (read["stat"].as_str(), &read["response"]) {
            (Some("OK"), response) if response.is_object() => Ok(response.clone()),
            _ => Err(PushRefusal::Never(format!(
                "Duo refused the request: {}",
                said(&read["message"])
            ))),
        }
    }

    /// Whether Duo would ask this user on a phone; anything else proves nothing.
    async fn preauth(&self, user: &str) -> Result<(), PushRefusal> {
        let parameters = BTreeMap::from([("username", user.to_owned())]);
        let answer = self
            .call("POST", "/auth/v2/preauth", &parameters, AT_ONCE)
            .await?;
        let why = match answer["result"].as_str() {
            Some("auth") if takes_push(&answer["devices"]) => return Ok(()),
            Some("auth") => "Duo knows no phone of theirs that takes requests",
            Some("allow") => "Duo lets them in without asking (bypass), which proves nothing",
            Some("enroll") => "they are not enrolled with Duo",
            Some("deny") => "Duo denies them: locked out or disabled",
            _ => "Duo gave an unknown answer",
        };
        Err(PushRefusal::Never(why.to_owned()))
    }
}

#[async_trait]
impl PushFactor for DuoFactor {
    fn name(&self) -> &'static str {
        "duo"
    }

    async fn start(&self, request: &PushRequest) -> Result<String, PushRefusal> {
        self.preauth(&request.user).await?;
        let info = request.info.iter();
        let info: Vec<_> = info
            .map(|(label, value)| format!("{}={}", encoded(label), encoded(value)))
            .collect();
        let parameters = BTreeMap::from([
            ("async", "1".to_owned()),
            ("device", "auto".to_owned()),
            ("factor", "push".to_owned()),
            ("pushinfo", info.join("&")),
            ("type", "Security question".to_owned()),
            ("username", request.user.clone()),
        ]);
        let answer = self
            .call("POST", "/auth/v2/auth", &parameters, AT_ONCE)
            .await?;
        match answer["txid"].as_str() {
            Some(transaction) if !transaction.is_empty() => Ok(transaction.to_owned()),
            _ => Err(PushRefusal::Never("Duo sent no request".to_owned())),
        }
    }

    async fn answer(&self, transaction: &str) -> Result<Option<PushVerdict>, PushRefusal> {
        let parameters = BTreeMap::from([("txid", transaction.to_owned())]);
        let answer = self
            .call("GET", "/auth/v2/auth_status", &parameters, LONG_POLL)
            .await?;
        match (answer["result"].as_str(), answer["status"].as_str()) {
            (Some("waiting"), _) => Ok(None),
            (Some("allow"), Some("allow")) => Ok(Some(PushVerdict::Approved)),
            (Some("deny"), Some("deny")) => Ok(Some(PushVerdict::Refused)),
            (Some("deny"), Some("fraud")) => Ok(Some(PushVerdict::Fraud)),
            (Some("deny"), Some("timeout")) => Ok(Some(PushVerdict::Unanswered)),
            (result, status) => Err(PushRefusal::Never(format!(
                "Duo decided without the phone: {} ({})",
                result.unwrap_or("no result"),
                said(&Value::from(status.unwrap_or("no status")))
            ))),
        }
    }

    async fn health(&self) -> Health {
        let now = (self.clock)();
        let mut looked = self.looked.lock().await;
        if let Some((at, health)) = &*looked
            && now < at.after(LOOK_AGAIN)
        {
            return health.clone();
        }
        let nothing = BTreeMap::new();
        let check = self.call("GET", "/auth/v2/check", &nothing, HEALTH_WITHIN);
        let health = match check.await {
            Ok(_) => Health::Good,
            Err(refusal) => Health::Degraded(refusal.to_string()),
        };
        *looked = Some((now, health.clone()));
        health
    }
}

fn takes_push(devices: &Value) -> bool {
    let mut devices = devices.as_array().into_iter().flatten();
    devices.any(|device| {
        let mut can = device["capabilities"].as_array().into_iter().flatten();
        can.any(|capability| capability == "push")
    })
}

fn refusal(failure: Failure) -> PushRefusal {
    let text = format!("Duo: {}", failure.text());
    match failure {
        Failure::Status(400..=499, _) => PushRefusal::Never(text),
        _ => PushRefusal::Unavailable(text),
    }
}

fn said(text: &Value) -> String {
    Untrusted::new(text.as_str().unwrap_or("no reason given")).line(200)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Sorted by encoded name, then by encoded value (as OAuth 1.0, RFC 5849, section 3.4.1.3.2).
fn canonical_parameters(parameters: &BTreeMap<&str, String>) -> String {
    let mut pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Version 5 of Duo's canonical form: version 2 and the SHA-512 of the body and of the `X-Duo-` headers,
/// of which we send none.
fn canonical(
    date: &str,
    method: &str,
    host: &str,
    path: &str,
    parameters: &str,
    body: &str,
) -> String {
    let digest = |text: &str| hex::encode(Sha512::digest(text.as_bytes()));
    [
        date,
        &method.to_ascii_uppercase(),
        &host.to_ascii_lowercase(),
        path,
        parameters,
        &digest(body),
        &digest(""),
    ]
    .join("\n")
}

fn sign(secret: &str, canonical: &str) -> String {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(canonical.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn basic(user: &str, signature: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{signature}")))
}

fn rfc_2822(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 07 Dec 2012 17:18:00 -0000";
    const SECRET: &str = "gtdfxv9YgVBYcF6dl2Eq17KUQJN2PLM2ODVTkvoT";

    // All expected values were made with duo_client 5.7.0.
    #[test]
    fn parameters_are_encoded_and_sorted_as_duo_client_does() {
        let given = BTreeMap::from([
            ("\u{469a}\u{fb8d}", "x y~*".to_owned()),
            ("b", "%".to_owned()),
            ("a", "2".to_owned()),
        ]);
        assert_eq!(
            canonical_parameters(&given),
            "%E4%9A%9A%EF%AE%8D=x%20y~%2A&a=2&b=%25"
        );
    }

    #[test]
    fn version_2_of_the_canonical_form_is_the_head_of_version_5_and_its_signature_matches() {
        let given = BTreeMap::from([
            ("realname", "First Last".to_owned()),
            ("username", "root".to_owned()),
        ]);
        let parameters = canonical_parameters(&given);
        let whole = canonical(
            DATE,
            "PoSt",
            "foO.BAr52.cOm",
            "/Foo/BaR2/qux",
            &parameters,
            "",
        );
        let head = whole.split('\n').take(5).collect::<Vec<_>>().join("\n");
        assert_eq!(
            basic("test_ikey", &sign(SECRET, &head)),
            "Basic dGVzdF9pa2V5OjIyYjk1MmVjOWM2MjgzMGIxMTc4MDM4MmM3N2JlY2Q5YjA0MDUzNjdlNTljOTYyZGE0\
             MTE5NTllMzQyNjQ3ZDZjMDM4N2MzMjllOGFjNzBlZjYwZTY1NzdhZWU1Mjk1NzczNjJmZGY5NDhmOTljNGVlMj\
             YxYTRlMzI0YTNkMzdm"
        );
    }

    #[test]
    fn the_signature_of_version_5_covers_the_body_as_duo_client_s_does() {
        let body = r#"{"realname":"First Last","username":"root"}"#;
        let whole = canonical(DATE, "PoSt", "foO.BAr52.cOm", "/Foo/BaR2/qux", "", body);
        assert_eq!(
            basic("test_ikey", &sign(SECRET, &whole)),
            "Basic dGVzdF9pa2V5OmE5NTU4Y2ZkZWVlNTM4YjZkM2ZhMzMzYThkNzg2YjMyOThkNDcxNzZjMzY2ODYwMmIx\
             MDIzNDc2OWNkOThkODNmZTgxMjI1YjE5ODRlODU1ZTdjOWIwMDE1ZmU2ZjBhOTgzYTdiOTI3NWU5YzMyZDQ5ZD\
             NiOGYzZjIzMDQ2MTBl"
        );
    }

    #[test]
    fn dates_are_rfc_2822() {
        let at = Timestamp::parse_rfc3339("2012-12-07T17:18:00Z").unwrap();
        assert_eq!(rfc_2822(at), "Fri, 07 Dec 2012 17:18:00 +0000");
    }
}
