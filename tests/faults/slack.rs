//! The fake Slack as one side of the harness: every call that it gets goes into the history, and what its
//! messages show now is known to the people who sit at it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::history::{History, What};
use super::setting::NAMES;
use crate::common::fake_slack::state::Seen;
use crate::common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, people};

/// Where the loud rules page.
pub const CHANNEL: &str = "C0SEC";

/// A message about a case as it stands in Slack.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Channel and time stamp.
    pub place: Value,
    pub case: String,
    pub revision: u32,
    pub rule: String,
    pub reference: String,
    /// It has the alert's facts.
    pub question: bool,
    pub live: bool,
    /// The button that opens the form.
    pub form: Option<Value>,
    /// The answer buttons.
    pub buttons: Vec<Value>,
}

/// Messages by their place.
type Board = Arc<Mutex<BTreeMap<String, (String, Asked)>>>;

#[derive(Clone)]
pub struct Workspace {
    pub fake: FakeSlack,
    board: Board,
}

pub fn user_of(name: &str) -> String {
    format!("U{}", name.to_uppercase())
}

impl Workspace {
    pub fn start(history: &History) -> Self {
        let fake = FakeSlack::start();
        for name in NAMES {
            fake.add_user(&user_of(name), name, &format!("{name}@example.com"));
        }
        fake.add_channel(CHANNEL);
        let board = Board::default();
        let (history, theirs) = (history.clone(), board.clone());
        let observer = move |seen: &Seen<'_>| observe(seen, &history, &theirs);
        fake.state().observer = Some(Box::new(observer));
        Self { fake, board }
    }

    /// The config's chat section, and the pager in the channel.
    pub fn config(&self, file: impl Fn(&str, &str) -> String) -> String {
        format!(
            "[chat]\nkind = \"slack\"\nbot_token = {}\napp_token = {}\napi_url = \"{}\"\n\
             [[pagers]]\nname = \"channel\"\nkind = \"slack\"\nchannel = \"{CHANNEL}\"\n",
            file("bot-token", BOT_TOKEN),
            file("app-token", APP_TOKEN),
            self.fake.api_url(),
        )
    }

    /// What somebody can answer now.
    pub fn open_to(&self, name: &str) -> Vec<Asked> {
        let board = self.board.lock().unwrap();
        let theirs = board
            .values()
            .filter(|(whom, asked)| whom == name && asked.live);
        theirs.map(|(_, asked)| asked.clone()).collect()
    }

    pub fn is_live(&self, case: &str) -> bool {
        let board = self.board.lock().unwrap();
        board
            .values()
            .any(|(_, asked)| asked.live && asked.case == case)
    }

    /// What people did and the bot has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.fake.state().unacknowledged().len()
    }

    /// How often an envelope went out.
    pub fn deliveries(&self, envelope: &str) -> usize {
        let state = self.fake.state();
        state.deliveries.get(envelope).copied().unwrap_or(0)
    }

    /// The acknowledgement's payload, if it comes in time.
    pub fn acknowledged(&self, envelope: &str, patience: Duration) -> Option<Value> {
        let until = Instant::now() + patience;
        loop {
            if let Some(payload) = self.fake.state().acknowledged.get(envelope) {
                return Some(payload.clone());
            }
            if Instant::now() > until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The form that this trigger opened, if it comes in time.
    pub fn form(&self, trigger: &str, patience: Duration) -> Option<Value> {
        let until = Instant::now() + patience;
        loop {
            let found = {
                let state = self.fake.state();
                let mut views = state.views.iter().rev();
                views.find(|view| view["opened_by"] == trigger).cloned()
            };
            if found.is_some() || Instant::now() > until {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn observe(seen: &Seen<'_>, history: &History, board: &Board) {
    let key = &seen.arguments["metadata"]["event_payload"]["key"];
    history.note(What::ChatCalled {
        method: seen.method.to_owned(),
        channel: seen.channel.map(str::to_owned),
        key: key.as_str().map(str::to_owned),
        applied: seen.applied.is_some(),
        wait_s: seen.asked_to_wait,
    });
    let (Some(user), Some(applied)) = (seen.user, seen.applied) else {
        return;
    };
    let Some(employee) = NAMES.into_iter().find(|name| user_of(name) == user) else {
        return;
    };
    match seen.method {
        "chat.postMessage" | "chat.update" => {}
        "views.open" => {
            let about = applied["view"]["private_metadata"].as_str();
            if let Some((case, _)) = about.and_then(|about| about.split_once(':')) {
                history.note(What::FormShown {
                    employee: employee.to_owned(),
                    case: case.to_owned(),
                });
            }
            return;
        }
        _ => return,
    }
    let message = &applied["message"];
    let id = format!(
        "{}/{}",
        applied["channel"].as_str().unwrap_or_default(),
        applied["ts"].as_str().unwrap_or_default()
    );
    let mut board = board.lock().unwrap();
    let before = board.get(&id).map(|(_, asked)| asked);
    let Some(now) = Asked::read(applied, message, before) else {
        return;
    };
    let told = |asked: &Asked| (asked.revision, asked.question, asked.live);
    if before.map(told) != Some(told(&now)) {
        history.note(What::Shown {
            employee: employee.to_owned(),
            message: id.clone(),
            case: now.case.clone(),
            revision: now.revision,
            question: now.question,
            live: now.live,
        });
    }
    board.insert(id, (employee.to_owned(), now));
}

impl Asked {
    /// `None`: it is about no case that could be answered, now or before.
    fn read(place: &Value, message: &Value, before: Option<&Self>) -> Option<Self> {
        let text = message["blocks"].to_string();
        let (mut form, mut buttons) = (None, Vec::new());
        let mut about = before.map(|before| (before.case.clone(), before.revision));
        for button in people::buttons(message) {
            let value = button["value"].as_str().unwrap_or_default().to_owned();
            match button["action_id"].as_str() {
                Some("form") => {
                    let seed: Value = serde_json::from_str(&value).unwrap_or_default();
                    let revision = seed["r"].as_u64().unwrap_or(0);
                    about = seed["c"]
                        .as_str()
                        .map(|case| (case.to_owned(), u32::try_from(revision).unwrap_or(0)));
                    form = Some(button);
                }
                Some("yes" | "no" | "not_sure" | "someone_else" | "not_me_after_all") => {
                    if let Some((case, revision)) = value.split_once(':') {
                        about = Some((case.to_owned(), revision.parse().unwrap_or(0)));
                    }
                    buttons.push(button);
                }
                _ => {}
            }
        }
        let (case, revision) = about.filter(|(case, _)| !case.is_empty())?;
        let word = |marker: &str, before: Option<&String>| {
            let found = text.split(marker).nth(1);
            let found = found.and_then(|rest| rest.split([' ', ',', '"', '\\']).next());
            found
                .map(str::to_owned)
                .or(before.cloned())
                .unwrap_or_default()
        };
        Some(Self {
            place: json!({ "channel": place["channel"], "ts": place["ts"] }),
            case,
            revision,
            rule: word("\\nrule ", before.map(|before| &before.rule)),
            reference: word("Reference ", before.map(|before| &before.reference)),
            question: message["blocks"]
                .as_array()
                .is_some_and(|blocks| blocks.iter().any(|block| block["fields"].is_array())),
            live: form.is_some() || buttons.iter().any(|button| button["action_id"] == "yes"),
            form,
            buttons,
        })
    }

    pub fn button(&self, action: &str) -> Option<&Value> {
        self.buttons
            .iter()
            .find(|button| button["action_id"] == action)
    }
}
