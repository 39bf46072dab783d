//! An employee at the web chat, over HTTP as the page's own script speaks it.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use serde_json::Value;

use super::bot::{Bot, PATIENCE};

pub struct Person {
    pub name: String,
    url: String,
    cookie: String,
    client: Client,
    secret: Option<String>,
}

/// One message as it stands on the page.
#[derive(Clone, Debug)]
pub struct Shown {
    pub id: String,
    pub case: String,
    pub revision: u32,
    /// Tags removed.
    pub text: String,
    /// With live buttons or a form.
    pub has_answers: bool,
    pub has_form: bool,
    /// The question in any of its states; what is said about it has no heading.
    pub is_question: bool,
    html: String,
}

impl Person {
    /// Signs in with a fresh one-time link.
    pub async fn sign_in(bot: &Bot, name: &str) -> Self {
        let link = bot
            .post(
                &format!("/v1/employees/{name}/links"),
                serde_json::json!({"kind": "chat"}),
            )
            .await;
        // It follows no redirects.
        let client = securitybot::plugins::http_client();
        let url = bot.url();
        let answer = client
            .post(link["url"].as_str().expect("a link"))
            .header("Origin", &url)
            .send()
            .await
            .expect("the link opens");
        assert_eq!(
            answer.status(),
            StatusCode::SEE_OTHER,
            "{name} is signed in"
        );
        let cookie = answer.headers()["set-cookie"].to_str().expect("a cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Self {
            name: name.to_owned(),
            url,
            cookie,
            client,
            secret: None,
        }
    }

    /// Gets an authenticator from the operator.
    pub async fn enroll(&mut self, bot: &Bot) {
        let path = format!("/v1/employees/{}/factors/totp", self.name);
        let answer = bot.post(&path, serde_json::json!({})).await;
        self.secret = Some(secret_of(&answer));
    }

    /// Takes over a secret that the person read from a page.
    pub fn has_authenticator(&mut self, secret: String) {
        self.secret = Some(secret);
    }

    /// The session's cookie and the authenticator's secret, for whoever acts as this person.
    pub fn credentials(&self) -> (String, String) {
        let secret = self.secret.clone().expect("enrolled");
        (self.cookie.clone(), secret)
    }

    /// The code of the time step `ahead` of now.
    pub fn code(&self, ahead: i64) -> String {
        totp(self.secret.as_ref().expect("enrolled"), ahead)
    }

    pub async fn messages(&self) -> Vec<Shown> {
        let request = self.client.get(format!("{}/chat/messages", self.url));
        let Ok(answer) = request.header("Cookie", &self.cookie).send().await else {
            return Vec::new();
        };
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(Shown::read).collect()
    }

    /// The newest message that passes, as soon as there is one.
    pub async fn sees(&self, what: &str, pass: impl Fn(&Shown) -> bool) -> Shown {
        let until = Instant::now() + PATIENCE;
        loop {
            let messages = self.messages().await;
            if let Some(found) = messages.iter().rev().find(|shown| pass(shown)) {
                return found.clone();
            }
            assert!(
                Instant::now() < until,
                "{} never saw: {what}; but {:#?}",
                self.name,
                messages.iter().map(|m| &m.text).collect::<Vec<_>>()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The live question whose text contains `title`.
    pub async fn question(&self, title: &str) -> Shown {
        self.sees(title, |shown| {
            shown.has_answers && shown.text.contains(title)
        })
        .await
    }

    pub async fn answer(&self, question: &Shown, answer: &str) -> (StatusCode, Value) {
        let revision = question.revision.to_string();
        let fields = [
            ("case", question.case.as_str()),
            ("revision", revision.as_str()),
            ("answer", answer),
        ];
        self.post("answer", question, &fields).await
    }

    pub async fn confirm(&self, form: &Shown, why: &str, code: &str) -> (StatusCode, Value) {
        let revision = form.revision.to_string();
        let tick = format!("{}:{}", form.case, form.revision);
        let fields = [
            ("case", form.case.as_str()),
            ("revision", revision.as_str()),
            ("tick", tick.as_str()),
            ("why", why),
            ("code", code),
        ];
        self.post("confirm", form, &fields).await
    }

    /// *Approve on my phone*.
    pub async fn push(&self, form: &Shown, why: &str) -> (StatusCode, Value) {
        let revision = form.revision.to_string();
        let tick = format!("{}:{}", form.case, form.revision);
        let fields = [
            ("case", form.case.as_str()),
            ("revision", revision.as_str()),
            ("tick", tick.as_str()),
            ("why", why),
            ("push", "1"),
        ];
        self.post("confirm", form, &fields).await
    }

    pub async fn say(&self, text: &str) -> (StatusCode, Value) {
        let page = self
            .client
            .get(format!("{}/chat", self.url))
            .header("Cookie", &self.cookie);
        let html = page
            .send()
            .await
            .expect("the page")
            .text()
            .await
            .expect("text");
        let shown = Shown {
            html,
            ..Shown::nothing()
        };
        self.post("say", &shown, &[("text", text)]).await
    }

    /// Six digits that are right at no step near now.
    pub fn wrong_code(&self) -> String {
        let right: Vec<_> = (-3..=3).map(|ahead| self.code(ahead)).collect();
        let mut codes = (0..10).map(|n| format!("{n}{n}{n}{n}{n}{n}"));
        codes
            .find(|code| !right.contains(code))
            .expect("seven codes are not ten")
    }

    /// How often this case's question stands in the history.
    pub async fn times_asked(&self, case: &str) -> usize {
        let messages = self.messages().await;
        let questions = messages.iter().filter(|m| m.is_question && m.case == case);
        questions.count()
    }

    /// The live connection of an open page.
    pub async fn listen(&self) -> reqwest::Response {
        let request = self.client.get(format!("{}/chat/stream", self.url));
        let answer = request.header("Cookie", &self.cookie).send().await;
        let answer = answer.expect("the stream opens");
        assert!(answer.status().is_success(), "{}", answer.status());
        answer
    }

    /// Clicks yes, explains, gives the code of the step `ahead`, and waits for the thanks.
    pub async fn verifies(&self, question: &Shown, why: &str, ahead: i64) {
        let (status, said) = self.answer(question, "yes").await;
        assert!(status.is_success(), "{status} {said}");
        let form = self
            .sees("the form", |s| s.has_form && s.case == question.case)
            .await;
        let (status, said) = self.confirm(&form, why, &self.code(ahead)).await;
        assert!(status.is_success(), "{status} {said}");
    }

    async fn post(&self, what: &str, from: &Shown, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let csrf = from.hidden("csrf");
        let event = from.hidden("event");
        let mut form = vec![("csrf", csrf.as_str()), ("event", event.as_str())];
        form.extend_from_slice(fields);
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let sent = self
            .client
            .post(format!("{}/chat/{what}", self.url))
            .header("Cookie", &self.cookie)
            .header("Origin", &self.url)
            .header("Accept", "application/json")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                let status = answer.status();
                (status, answer.json().await.unwrap_or(Value::Null))
            }
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
        }
    }
}

impl Shown {
    fn nothing() -> Self {
        Self {
            id: String::new(),
            case: String::new(),
            revision: 0,
            text: String::new(),
            has_answers: false,
            has_form: false,
            is_question: false,
            html: String::new(),
        }
    }

    fn read(message: &Value) -> Self {
        let html = message["html"].as_str().unwrap_or_default().to_owned();
        Self {
            id: message["id"].as_str().unwrap_or_default().to_owned(),
            case: attribute(&html, "data-case"),
            revision: attribute(&html, "data-revision").parse().unwrap_or(0),
            text: without_tags(&html),
            has_answers: html.contains("value=\"yes\""),
            has_form: html.contains("class=\"proof\""),
            is_question: html.contains("<h2>"),
            html,
        }
    }

    fn hidden(&self, name: &str) -> String {
        let marker = format!("name=\"{name}\" value=\"");
        let rest = self.html.split(&marker).nth(1).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

fn attribute(html: &str, name: &str) -> String {
    let marker = format!("{name}=\"");
    let rest = html.split(&marker).nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the authenticator app shows in the time step `ahead` of now, by an implementation that is not ours.
pub fn totp(secret: &str, ahead: i64) -> String {
    let seconds = ahead * 30;
    let output = Command::new("oathtool")
        .args([
            "--totp",
            "-b",
            secret,
            "--now",
            &format!("now + {seconds} seconds"),
        ])
        .output()
        .expect("oathtool is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The secret in what an enrolment answers.
pub fn secret_of(enrolled: &Value) -> String {
    let uri = url::Url::parse(enrolled["otpauth_uri"].as_str().expect("a URI")).expect("a URI");
    let mut query = uri.query_pairs();
    let secret = query.find(|(name, _)| name == "secret");
    secret.expect("a secret").1.into_owned()
}
