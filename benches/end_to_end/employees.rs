//! Employees as their browsers: signed in with a session, enrolled with a seed, answering with codes.

use std::time::{SystemTime, UNIX_EPOCH};

use totp_lite::{Sha1, totp_custom};

use crate::client::{Conn, find, request};
use crate::servers::Bot;

pub struct Employee {
    pub id: String,
    cookie: String,
    csrf: String,
    seed: Vec<u8>,
}

impl Employee {
    /// Signs in by a one-time link and enrols, all through the outside doors.
    pub async fn sign_in(bot: &Bot, conn: &mut Conn, id: String) -> Self {
        let enroll = request(
            "POST",
            &format!("/v1/employees/{id}/factors/totp"),
            &bot.auth(),
            "",
        );
        let enrolled = conn.ask(&enroll).await.unwrap().text();
        let seed = between(&enrolled, "secret=", &['&', '"']);
        let seed = data_encoding::BASE32_NOPAD.decode(seed.as_bytes()).unwrap();
        let link = request(
            "POST",
            &format!("/v1/employees/{id}/links"),
            &bot.auth(),
            r#"{"kind":"chat"}"#,
        );
        let link = conn.ask(&link).await.unwrap().text();
        let path = format!("/chat/login/{}", between(&link, "/chat/login/", &['"']));
        let signed_in = conn.ask(&request("POST", &path, "", "")).await.unwrap();
        let cookie = signed_in.header("set-cookie").unwrap_or_else(|| {
            panic!(
                "{id} is not signed in: {} {}",
                signed_in.status,
                signed_in.text()
            )
        });
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        let page = conn
            .ask(&request("GET", "/chat", &cookie, ""))
            .await
            .unwrap()
            .text();
        let csrf = between(&page, "name=\"csrf\" value=\"", &['"']);
        Self {
            id,
            cookie,
            csrf,
            seed,
        }
    }

    /// Opens the stream of messages and waits until it stands.
    pub async fn listen(&self, bot: &Bot) -> Conn {
        let mut conn = bot.conn().await;
        let accept = format!("{}Accept: text/event-stream\r\n", self.cookie);
        conn.open(&request("GET", "/chat/stream", &accept, ""))
            .await
            .unwrap();
        conn.wait_for(b"event: hello").await.unwrap();
        conn
    }

    /// Case and revision of the question with live buttons, once it has come into the open page.
    pub async fn question(page: &mut Conn) -> (String, String) {
        let read = |seen: &[u8]| {
            find(seen, b"name=\\\"answer\\\"")?;
            let text = std::str::from_utf8(seen).ok()?;
            let case = text
                .split("data-case=\\\"")
                .map(|rest| rest.split('\\').next().unwrap());
            let case = case.skip(1).find(|case| !case.is_empty())?.to_owned();
            let revision = between(&text[text.find(&case)?..], "data-revision=\\\"", &['\\']);
            Some((case, revision))
        };
        page.wait_until(read).await.unwrap()
    }

    pub async fn press_yes(&self, conn: &mut Conn, case: &str, revision: &str) -> u16 {
        let form = format!("case={case}&revision={revision}&answer=yes");
        self.post(conn, "/chat/answer", &form).await
    }

    pub async fn confirm(&self, conn: &mut Conn, case: &str, revision: &str) -> u16 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let code = totp_custom::<Sha1>(30, 6, &self.seed, now);
        let form = format!(
            "case={case}&revision={revision}&tick={case}%3A{revision}&why=restarting+nginx&code={code}"
        );
        self.post(conn, "/chat/confirm", &form).await
    }

    async fn post(&self, conn: &mut Conn, path: &str, form: &str) -> u16 {
        let body = format!(
            "csrf={}&event={:032x}&{form}",
            self.csrf,
            rand::random::<u128>()
        );
        let headers = format!(
            "{}Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\n",
            self.cookie
        );
        let answer = conn
            .ask(&request("POST", path, &headers, &body))
            .await
            .unwrap();
        if answer.status != 200 {
            eprintln!("  {} {path}: {} {}", self.id, answer.status, answer.text());
        }
        answer.status
    }
}

fn between(text: &str, before: &str, ends: &[char]) -> String {
    let rest = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"))
        .1;
    rest.split(ends).next().unwrap().to_owned()
}
