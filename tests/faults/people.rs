//! Employees at the web chat, seen from outside: each looks at the chat, thinks a little, answers as its character
//! says, by a button or in words, and writes what is no answer at all. Every look and act goes into the history. A lost answer is sent again with the
//! page's own event id, as the page's script does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Client;
use securitybot::core::ids::CaseId;
use serde_json::Value;

use super::history::What;
use super::town::{Town, code, mind, step_now};

/// The web chat shows so many messages, the newest.
const NEWEST_SHOWN: usize = 200;

const LOOK_EVERY: Duration = Duration::from_millis(120);
/// How long somebody waits for what a typed answer does.
const TYPES_AGAIN: Duration = Duration::from_secs(3);
/// Nothing here answers anything.
const SMALL_TALK: [&str; 4] = ["help", "status", "hello", "what is this about?"];

pub struct Employee {
    name: String,
    cookie: String,
    secret: String,
    client: Client,
    town: Town,
    rng: StdRng,
    seed: u64,
    seen: BTreeMap<String, Message>,
    /// When to answer, by case.
    thinking: BTreeMap<String, Instant>,
    last_step: i64,
    replays: u32,
    looks_at: usize,
}

#[derive(Clone, Debug, PartialEq)]
struct Message {
    case: String,
    revision: u32,
    question: bool,
    live: bool,
    form: bool,
    html: String,
}

impl Employee {
    pub fn new(name: &str, cookie: String, secret: String, town: &Town, seed: u64) -> Self {
        let own = seed ^ name.bytes().fold(17, |h, b| h * 31 + u64::from(b));
        Self {
            name: name.to_owned(),
            cookie,
            secret,
            client: securitybot::plugins::outgoing::http_client_with(Duration::from_secs(10)),
            town: town.clone(),
            rng: StdRng::seed_from_u64(own),
            seed,
            seen: BTreeMap::new(),
            thinking: BTreeMap::new(),
            last_step: 0,
            replays: 0,
            looks_at: 0,
        }
    }

    /// Looks and answers until the task is aborted.
    pub async fn live(mut self) {
        loop {
            self.look().await;
            self.act().await;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn url(&self) -> String {
        self.town.nodes.url(self.looks_at)
    }

    async fn look(&mut self) {
        let request = self.client.get(format!("{}/chat/messages", self.url()));
        let answer = request.header("Cookie", &self.cookie).send().await;
        let body: Value = match answer {
            Ok(answer) if answer.status().is_success() => {
                answer.json().await.unwrap_or(Value::Null)
            }
            // Refused, or no answer.
            _ => {
                self.looks_at += 1;
                return;
            }
        };
        if !body["messages"].is_array() {
            return; // cut on the way
        }
        let listed: Vec<&Value> = body["messages"].as_array().into_iter().flatten().collect();
        // Only a full page pushes older messages out: one missing from a shorter page is a fault to be seen.
        let is_full = listed.len() >= NEWEST_SHOWN || self.town.expects_losses();
        self.seen.retain(|id, _| {
            let stands = !is_full || listed.iter().any(|message| message["id"] == id.as_str());
            if !stands {
                let message = id.clone();
                self.town.history.note(What::ScrolledOff { message });
            }
            stands
        });
        for message in listed {
            let id = message["id"].as_str().unwrap_or_default();
            let now = Message::read(message["html"].as_str().unwrap_or_default());
            if now.case.is_empty() {
                // After a loss the id of a question may be given to something else that is said.
                if self.seen.remove(id).is_some() {
                    let message = id.to_owned();
                    self.town.history.note(What::ScrolledOff { message });
                }
                continue;
            }
            let before = self.seen.get(id);
            let stands = before.is_some_and(|before| {
                (before.revision, before.question, before.live)
                    == (now.revision, now.question, now.live)
            });
            if !stands {
                if before.is_none() && now.question {
                    self.town.asks(&self.name, &now.case, now.revision);
                }
                self.town.history.note(What::Shown {
                    employee: self.name.clone(),
                    message: id.to_owned(),
                    case: now.case.clone(),
                    revision: now.revision,
                    question: now.question,
                    live: now.live,
                });
            }
            self.seen.insert(id.to_owned(), now);
        }
    }

    async fn act(&mut self) {
        let live: Vec<Message> = self.seen.values().filter(|m| m.live).cloned().collect();
        let mut proof: Option<(Message, Vec<(String, u32)>)> = None;
        for message in live {
            let Some(action) = self.intends(&message) else {
                continue;
            };
            if message.form && action == "yes" {
                let (_, ticks) = proof.get_or_insert_with(|| (message.clone(), Vec::new()));
                ticks.push((message.case.clone(), message.revision));
                continue;
            }
            let think = Duration::from_millis(self.rng.random_range(0..1500));
            let from = self.thinking.entry(message.case.clone());
            if *from.or_insert_with(|| Instant::now() + think) > Instant::now() {
                continue;
            }
            if self.rng.random_ratio(1, 6) {
                self.type_answer(&message, action).await;
            } else {
                self.press(&message, action).await;
            }
        }
        if let Some((message, ticks)) = proof {
            self.prove(&message, ticks).await;
        }
        if self.town.is_up_to_mischief() && self.rng.random_ratio(1, 12) {
            self.make_mischief().await;
        }
        if self.rng.random_ratio(1, 80) {
            self.chat().await;
        }
    }

    /// One mind per case, whatever happens in between; rules that nobody answers are named so.
    fn intends(&self, message: &Message) -> Option<&'static str> {
        let rule = message.html.split("<dd>rule ").nth(1).unwrap_or_default();
        mind(self.seed, &message.case, rule)
    }

    async fn press(&mut self, message: &Message, action: &str) {
        let event = message.hidden("event");
        let fields = vec![
            ("csrf", message.hidden("csrf")),
            ("event", event),
            ("case", message.case.clone()),
            ("revision", message.revision.to_string()),
            ("answer", action.to_owned()),
        ];
        let acted = self.acted(&message.case, message.revision, action, Vec::new(), None);
        self.post("answer", acted, &fields).await;
        if self.town.is_up_to_mischief() && self.rng.random_ratio(1, 4) {
            // The same click once more.
            let acted = self.acted(&message.case, message.revision, action, Vec::new(), None);
            self.post("answer", acted, &fields).await;
        }
    }

    /// Which question is meant stands beside it: there may be several.
    async fn type_answer(&mut self, message: &Message, action: &str) {
        let case = CaseId::parse(&message.case).expect("a question has its case");
        let said = format!("{} {}", action.replace('_', " "), case.reference());
        let acted = self.acted(&message.case, message.revision, action, Vec::new(), None);
        self.say(message, acted, said).await;
        // It may have been written before the chat showed the question: then it counts for nothing.
        let again = Instant::now() + TYPES_AGAIN;
        self.thinking.insert(message.case.clone(), again);
    }

    /// Commands, and what is none.
    async fn chat(&mut self) {
        let any = self.seen.values().find(|message| message.live).cloned();
        if let Some(message) = any {
            let said = SMALL_TALK.choose(&mut self.rng).copied();
            let act = self.acted("", 0, "chat", Vec::new(), None);
            self.say(&message, act, said.unwrap_or_default().to_owned())
                .await;
        }
    }

    async fn say(&mut self, message: &Message, act: u64, text: String) {
        let event = format!("said-{:016x}", self.rng.random::<u64>());
        let fields = [
            ("csrf", message.hidden("csrf")),
            ("event", event),
            ("text", text),
        ];
        self.post("say", act, &fields).await;
    }

    async fn prove(&mut self, message: &Message, ticks: Vec<(String, u32)>) {
        let step = step_now();
        if step <= self.last_step {
            // Five wrong ones would lock this person out.
            if self.town.is_up_to_mischief() && self.replays < 2 && self.rng.random_ratio(1, 60) {
                self.replays += 1;
                let used = code(&self.secret, self.last_step);
                self.confirm(message, ticks, used, Some(self.last_step))
                    .await;
            }
            return;
        }
        // Whatever becomes of it, this code is not tried again by an honest person.
        self.last_step = step;
        self.replays = 0;
        let code = code(&self.secret, step);
        self.confirm(message, ticks, code, Some(step)).await;
    }

    async fn confirm(
        &mut self,
        message: &Message,
        ticks: Vec<(String, u32)>,
        code: String,
        step: Option<i64>,
    ) {
        let mut fields = vec![
            ("csrf", message.hidden("csrf")),
            ("event", message.hidden("event")),
            ("case", message.case.clone()),
            ("revision", message.revision.to_string()),
            ("why", "routine work".to_owned()),
            ("code", code),
        ];
        for (case, revision) in &ticks {
            fields.push(("tick", format!("{case}:{revision}")));
        }
        let acted = self.acted(&message.case, message.revision, "confirm", ticks, step);
        self.post("confirm", acted, &fields).await;
    }

    async fn make_mischief(&mut self) {
        let Some((of, case, revision)) = self.town.any_question(&mut self.rng) else {
            return;
        };
        let Some(own) = self.seen.values().next_back().cloned() else {
            return;
        };
        // Somebody else's question with any answer, or an own one that is over with a yes.
        let over = self.seen.values().any(|m| m.case == case && !m.live);
        if of == self.name && !over {
            return;
        }
        let action = match of == self.name {
            true => "yes",
            false => ["yes", "no", "not_sure"][self.rng.random_range(0..3)],
        };
        let fields = vec![
            ("csrf", own.hidden("csrf")),
            ("event", format!("mischief-{}", self.rng.random::<u64>())),
            ("case", case.clone()),
            ("revision", revision.to_string()),
            ("answer", action.to_owned()),
        ];
        let acted = self.acted(&case, revision, action, Vec::new(), None);
        self.post("answer", acted, &fields).await;
    }

    fn acted(
        &self,
        case: &str,
        revision: u32,
        action: &str,
        ticks: Vec<(String, u32)>,
        step: Option<i64>,
    ) -> u64 {
        self.town
            .acted(&self.name, case, revision, action, ticks, step)
    }

    /// Posts until the bot has said something final.
    async fn post(&mut self, what: &str, act: u64, fields: &[(&str, String)]) {
        if fields[0].1.is_empty() {
            return; // a page without its token: nothing to post from
        }
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        for attempt in 0..400u64 {
            let url = self.url();
            let working = self.town.works();
            let sent = self
                .client
                .post(format!("{url}/chat/{what}"))
                .header("Cookie", &self.cookie)
                .header("Origin", self.town.nodes.url(0))
                .header("Accept", "application/json")
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(body.clone())
                .send()
                .await;
            drop(working);
            let (status, said) = match sent {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    let said: Value = answer.json().await.unwrap_or(Value::Null);
                    let said = said["message"].as_str().unwrap_or_default().to_owned();
                    (status, said)
                }
                Err(_) => (0, String::new()),
            };
            self.town.answered(act, status, &said);
            match status {
                0 | 429 | 500..=599 => {
                    self.looks_at += 1;
                    let wait = Duration::from_millis(50 + 25 * attempt.min(20));
                    tokio::time::sleep(wait).await;
                }
                _ => return,
            }
        }
    }
}

impl Message {
    fn read(html: &str) -> Self {
        let form = html.contains("class=\"proof\"");
        Self {
            case: attribute(html, "data-case"),
            revision: attribute(html, "data-revision").parse().unwrap_or(0),
            question: html.contains("<dl>"),
            live: form || html.contains("value=\"yes\""),
            form,
            html: html.to_owned(),
        }
    }

    fn hidden(&self, name: &str) -> String {
        attribute(&self.html, &format!("name=\"{name}\" value"))
    }
}

fn attribute(html: &str, name: &str) -> String {
    let marker = format!("{name}=\"");
    let rest = html.split(&marker).nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}
