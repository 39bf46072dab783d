//! A history as the checker keeps it: of each body what some invariant asks for, and of the many tellings of a
//! case what they agree or disagree about. A run of half an hour tells of its cases a hundred thousand times.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::super::history::{self, Bodies, Event, What};

/// What the checker takes from bodies.
#[derive(Clone, Debug, PartialEq)]
pub struct Told;

impl Bodies for Told {
    type Alert = Alert;
    type Case = Case;
    type Page = Page;
    type Record = Record;
}

/// Of a whole body: two that differ in anything differ in it.
fn digest(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub struct Alert {
    pub principal: Option<String>,
    pub rule: Option<String>,
    pub digest: u64,
}

impl From<Value> for Alert {
    fn from(body: Value) -> Self {
        Self {
            principal: text(&body["principal"]),
            rule: text(&body["rule"]),
            digest: digest(&body),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Value")]
pub struct Page {
    pub kind: Option<String>,
    pub key: Option<String>,
    pub case: Option<String>,
    pub round: Option<u64>,
    pub level: Option<u64>,
}

impl From<Value> for Page {
    fn from(body: Value) -> Self {
        Self {
            kind: text(&body["kind"]),
            key: text(&body["key"]),
            case: text(&body["case"]["id"]),
            round: body["round"].as_u64(),
            level: body["level"].as_u64(),
        }
    }
}

impl Page {
    pub fn is_about_a_case(&self) -> bool {
        self.kind.as_deref() == Some("case")
    }

    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Record {
    pub event: Option<String>,
    pub case_id: Option<String>,
    /// The case as it was then.
    pub case: Option<Box<Case>>,
    pub digest: u64,
}

impl TryFrom<Value> for Record {
    type Error = serde_json::Error;

    fn try_from(mut body: Value) -> Result<Self, Self::Error> {
        Ok(Self {
            event: text(&body["event"]),
            case_id: text(&body["case_id"]),
            digest: digest(&body),
            case: serde_json::from_value(body["case"].take())?,
        })
    }
}

/// As the API and records tell of it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Case {
    pub id: String,
    pub employee: Option<String>,
    pub principal: Option<String>,
    pub rule: Option<String>,
    pub severity: Option<String>,
    #[serde(default)]
    pub context: Value,
    pub state: Option<String>,
    pub outcome: Option<String>,
    #[serde(default)]
    pub alerts: Vec<Id>,
    pub revision: Option<u64>,
    pub snoozed_by: Option<String>,
    pub factor: Option<String>,
    pub deadline: Option<String>,
    pub closed_at: Option<String>,
    pub escalation: Option<Escalation>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Id {
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Escalation {
    pub acknowledged_by: Option<String>,
    pub resolved_by: Option<String>,
}

impl Case {
    pub fn outcome(&self) -> Option<&str> {
        self.outcome.as_deref()
    }

    pub fn employee(&self) -> &str {
        self.employee.as_deref().unwrap_or_default()
    }

    pub fn alerts(&self) -> impl Iterator<Item = &str> {
        self.alerts.iter().map(|alert| alert.id.as_str())
    }
}

/// All that was ever told of one case, by the API and by records.
#[derive(Debug, Default)]
pub struct Tellings {
    /// As the API told it last.
    pub last: Option<Case>,
    pub outcomes: BTreeSet<String>,
    pub deadlines: BTreeSet<String>,
    /// (ack or resolve, by whom).
    pub words: BTreeSet<(&'static str, String)>,
    /// Revisions after which the API told a lower one, and that one.
    pub fell: Vec<(u64, u64)>,
    revision: Option<u64>,
}

impl Tellings {
    fn hear(&mut self, case: &Case) {
        let add = |known: &mut BTreeSet<String>, new: &Option<String>| {
            if let Some(new) = new.as_ref().filter(|new| !known.contains(*new)) {
                known.insert(new.clone());
            }
        };
        add(&mut self.outcomes, &case.outcome);
        add(&mut self.deadlines, &case.deadline);
        if let Some(escalation) = &case.escalation {
            let acknowledged = escalation.acknowledged_by.clone().map(|by| ("ack", by));
            let resolved = escalation.resolved_by.clone().map(|by| ("resolve", by));
            self.words.extend(acknowledged.into_iter().chain(resolved));
        }
    }

    /// By the API.
    fn tell(&mut self, case: Case) {
        self.hear(&case);
        if let Some(revision) = case.revision {
            let before = self.revision.replace(revision);
            let fell = before.filter(|before| revision < *before);
            self.fell.extend(fell.map(|before| (before, revision)));
        }
        self.last = Some(case);
    }
}

/// (microseconds since the run began, wall clock in milliseconds).
pub type Instant = (u64, i64);

#[derive(Debug, Default)]
pub struct Trace {
    /// All but what the API told of cases.
    pub events: Vec<Event<Told>>,
    pub cases: BTreeMap<String, Tellings>,
    /// How many events there were.
    pub count: usize,
    pub first: Option<Instant>,
    pub last: Option<Instant>,
}

impl Trace {
    /// Of a history's file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let mut trace = Self::default();
        history::read(path, |event| trace.take(event))?;
        Ok(trace)
    }

    fn take(&mut self, mut event: Event<Told>) {
        let at = (event.t, event.wall);
        self.first.get_or_insert(at);
        self.last = Some(at);
        self.count += 1;
        match &mut event.what {
            What::Record { body, .. } => {
                if let Some(case) = body.case.take() {
                    self.of(&case.id).hear(&case);
                }
            }
            What::Case { .. } => {
                if let What::Case { case } = event.what {
                    self.of(&case.id).tell(case);
                }
                return;
            }
            _ => {}
        }
        self.events.push(event);
    }

    fn of(&mut self, case: &str) -> &mut Tellings {
        // Nearly always known.
        if !self.cases.contains_key(case) {
            self.cases.insert(case.to_owned(), Tellings::default());
        }
        self.cases.get_mut(case).expect("put there")
    }
}
