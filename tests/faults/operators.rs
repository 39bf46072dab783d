//! Operators at the API: they acknowledge, resolve and close at random, race the employee's answer, the next
//! level and each other, do the same thing twice, and try it without being allowed to.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::history::{What, wall_ms};
use super::setting::{LADDER, RESPONDERS, VIEWER, token_of};
use super::town::Town;

/// Nobody's token.
const STRANGER: &str = "mallory";
/// How long an operator waits for the moment at which the next level is due.
const LONGEST_WAIT_MS: i64 = 4_000;

pub struct Operators {
    client: Client,
    town: Town,
    rng: StdRng,
}

impl Operators {
    /// At work until the task is aborted.
    pub fn start(town: &Town, seed: u64) -> JoinHandle<()> {
        let mut operators = Self {
            client: securitybot::plugins::outgoing::http_client_with(Duration::from_secs(10)),
            town: town.clone(),
            rng: StdRng::seed_from_u64(seed ^ 0x0b5),
        };
        tokio::spawn(async move {
            loop {
                let pause = operators.rng.random_range(200..2_000);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if operators.town.is_up_to_mischief() {
                    operators.act().await;
                }
            }
        })
    }

    async fn act(&mut self) {
        let [one, other] = match self.rng.random_bool(0.5) {
            true => RESPONDERS,
            false => [RESPONDERS[1], RESPONDERS[0]],
        };
        let nobody = [STRANGER, VIEWER][self.rng.random_range(0..2)];
        match self.rng.random_range(0..14) {
            0..3 => self.on_escalation(&[(one, "ack")]).await,
            3 => self.on_escalation(&[(one, "ack"), (one, "ack")]).await,
            4 => self.on_escalation(&[(one, "ack"), (other, "ack")]).await,
            5 => {
                self.on_escalation(&[(one, "ack"), (other, "resolve")])
                    .await
            }
            6 => {
                self.on_escalation(&[(one, "resolve"), (other, "resolve")])
                    .await
            }
            7 => self.on_escalation(&[(one, "resolve")]).await,
            8 => self.before_the_next_level(one).await,
            9 => self.on_escalation(&[(nobody, "ack")]).await,
            10 => self.on_case("asked", &[(nobody, "close")]).await,
            11 => {
                self.on_case("asked", &[(one, "close"), (other, "close")])
                    .await
            }
            12 => self.on_case("closed", &[(one, "close")]).await,
            _ => self.on_case("asked", &[(one, "close")]).await,
        }
    }

    /// One of the newest.
    async fn on_escalation(&mut self, acts: &[(&str, &str)]) {
        let open = self
            .list("escalations?state=open&limit=12", "escalations")
            .await;
        self.all_at_once(open, acts).await;
    }

    async fn on_case(&mut self, state: &str, acts: &[(&str, &str)]) {
        let path = format!("cases?state={state}&limit=12");
        let cases = self.list(&path, "cases").await;
        self.all_at_once(cases, acts).await;
    }

    async fn all_at_once(&mut self, rows: Vec<Value>, acts: &[(&str, &str)]) {
        let Some(id) = rows
            .choose(&mut self.rng)
            .and_then(|row| row["id"].as_str())
        else {
            return;
        };
        let acts = acts.iter().map(|(who, what)| self.send(who, what, id));
        futures_util::future::join_all(acts).await;
    }

    /// At the very moment at which the next level is due.
    async fn before_the_next_level(&mut self, who: &str) {
        let now = wall_ms();
        let open = self
            .list("escalations?state=open&limit=50", "escalations")
            .await;
        let due = |row: &Value| {
            let opened = row["opened_at"].as_str()?.parse::<jiff::Timestamp>().ok()?;
            let level = usize::try_from(row["level"].as_u64()?).ok()?;
            let after = i64::try_from(LADDER.get(level)?.as_millis()).ok()?;
            let wait = opened.as_millisecond() + after - now;
            (100..LONGEST_WAIT_MS).contains(&wait).then_some(wait)
        };
        let soon: Vec<(String, i64)> = open
            .iter()
            .filter_map(|row| Some((row["id"].as_str()?.to_owned(), due(row)?)))
            .collect();
        let Some((id, wait)) = soon.choose(&mut self.rng).cloned() else {
            return;
        };
        let wait = wait - self.rng.random_range(0..100);
        tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))).await;
        self.send(who, "ack", &id).await;
    }

    async fn list(&self, path: &str, name: &str) -> Vec<Value> {
        let url = format!("{}/v1/{path}", self.town.nodes.url(0));
        let request = self.client.get(url).bearer_auth(token_of(RESPONDERS[0]));
        let answer = match request.send().await {
            Ok(answer) => answer.json::<Value>().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        };
        answer[name].as_array().cloned().unwrap_or_default()
    }

    async fn send(&self, operator: &str, action: &str, id: &str) {
        let _working = self.town.works();
        let act = self.town.next_act();
        self.town.history.note(What::OperatorActed {
            act,
            operator: operator.to_owned(),
            may: RESPONDERS.contains(&operator),
            action: action.to_owned(),
            id: id.to_owned(),
        });
        let things = if action == "close" {
            "cases"
        } else {
            "escalations"
        };
        let url = format!("{}/v1/{things}/{id}/{action}", self.town.nodes.url(0));
        let mut request = self.client.post(url).bearer_auth(token_of(operator));
        if action != "ack" {
            request = request.json(&json!({ "reason": "seen to it" }));
        }
        let (status, told) = match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.json::<Value>().await {
                    Ok(told) => (status, told),
                    // Cut in the middle of the answer.
                    Err(_) if status < 300 => (0, Value::Null),
                    Err(_) => (status, Value::Null),
                }
            }
            Err(_) => (0, Value::Null),
        };
        // Of the case, or of what has none.
        let level = told["escalation"]["level"]
            .as_u64()
            .or(told["level"].as_u64());
        self.town
            .history
            .note(What::OperatorAnswered { act, status, level });
    }
}
