//! A history turned over once, so that each invariant reads like its sentence.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::history::{Event, What};

/// An act of a person with all the answers it got.
pub struct Act<'a> {
    pub t: u64,
    pub by: &'a str,
    pub case: &'a str,
    pub action: &'a str,
    pub ticks: &'a [(String, u32)],
    pub step: Option<i64>,
    /// (t, status, said).
    pub answers: Vec<(u64, u16, &'a str)>,
}

impl Act<'_> {
    /// The bot said that it took it; the first answers may have been lost.
    pub fn taken(&self) -> bool {
        let said_yes = |(_, status, _): &&(u64, u16, &str)| *status < 300 && *status > 0;
        self.answers.iter().any(|a| said_yes(&a))
    }

    /// It was taken, or may have been.
    pub fn maybe_taken(&self) -> bool {
        let refused = |(_, status, _): &(u64, u16, &str)| (400..500).contains(status);
        self.answers.is_empty() || !self.answers.iter().all(refused)
    }
}

pub struct View<'a> {
    pub events: &'a [Event],
    /// Alert id -> bodies sent.
    pub sent: BTreeMap<&'a str, Vec<&'a Value>>,
    /// Alert id -> when it was first acknowledged (t, wall).
    pub acknowledged: BTreeMap<&'a str, (u64, i64)>,
    /// Case id -> as the API told it last.
    pub cases: BTreeMap<&'a str, &'a Value>,
    /// Every telling of every case: API and sink records (wall, case).
    pub tellings: BTreeMap<&'a str, Vec<(i64, &'a Value)>>,
    pub acts: BTreeMap<u64, Act<'a>>,
    /// Case id -> pages that were taken (t, wall, body).
    pub pages: BTreeMap<&'a str, Vec<(u64, i64, &'a Value)>>,
    /// (from, to, what it blocks) of every outage, a dead node among them.
    pub outages: Vec<(u64, u64, &'a str)>,
    /// (from, to) of every death of a process and its next life. The end of one may be noticed later.
    pub restarts: Vec<(u64, u64)>,
    pub crashes_only: bool,
    /// As `Began` has them.
    pub ladder_ms: &'a [i64],
    pub ack_expires_ms: i64,
    pub at_rest: bool,
    pub end: u64,
}

impl<'a> View<'a> {
    pub fn of(events: &'a [Event]) -> Self {
        let mut view = Self {
            events,
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            cases: BTreeMap::new(),
            tellings: BTreeMap::new(),
            acts: BTreeMap::new(),
            pages: BTreeMap::new(),
            outages: Vec::new(),
            restarts: Vec::new(),
            crashes_only: false,
            ladder_ms: &[],
            ack_expires_ms: 0,
            at_rest: false,
            end: events.last().map_or(0, |e| e.t),
        };
        let mut began: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        let mut down: BTreeMap<u32, u64> = BTreeMap::new();
        for event in events {
            match &event.what {
                What::Began {
                    crashes_only,
                    ladder_ms,
                    ack_expires_ms,
                    ..
                } => {
                    view.crashes_only = *crashes_only;
                    view.ladder_ms = ladder_ms;
                    view.ack_expires_ms = *ack_expires_ms;
                }
                What::FaultBegan { fault, blocks } => {
                    began.insert(fault, (event.t, blocks));
                }
                What::FaultEnded { fault } => {
                    if let Some((from, blocks)) = began.remove(fault.as_str()) {
                        view.outages.push((from, event.t, blocks));
                    }
                }
                What::Down { node, .. } => {
                    down.insert(*node, event.t);
                }
                What::Up { node } => {
                    if let Some(from) = down.remove(node) {
                        view.outages.push((from, event.t, "node"));
                        view.restarts.push((from, event.t));
                    }
                }
                What::Rest { .. } => view.at_rest = true,
                _ => view.take(event),
            }
        }
        let end = view.end;
        let unended = began
            .into_values()
            .map(|(from, blocks)| (from, end, blocks));
        view.outages.extend(unended);
        let still = down.into_values().map(|from| (from, end, "node"));
        view.outages.extend(still);
        view
    }

    fn take(&mut self, event: &'a Event) {
        match &event.what {
            What::AlertSent { alert, body, .. } => {
                self.sent.entry(alert).or_default().push(body);
            }
            What::AlertAnswered {
                alert,
                status: 202,
                verdict,
                ..
            } if verdict.as_deref() != Some("rejected") => {
                self.acknowledged
                    .entry(alert)
                    .or_insert((event.t, event.wall));
            }
            What::Case { case } => {
                if let Some(id) = case["id"].as_str() {
                    self.cases.insert(id, case);
                    self.tellings
                        .entry(id)
                        .or_default()
                        .push((event.wall, case));
                }
            }
            What::Record { body, .. } => {
                if let Some(id) = body["case"]["id"].as_str() {
                    let telling = (event.wall, &body["case"]);
                    self.tellings.entry(id).or_default().push(telling);
                }
            }
            What::Page {
                applied: true,
                body,
                ..
            } => {
                if let Some(case) = body["key"].as_str().and_then(|key| key.split(':').next()) {
                    let page = (event.t, event.wall, body);
                    self.pages.entry(case).or_default().push(page);
                }
            }
            What::Acted {
                act,
                by,
                case,
                action,
                ticks,
                step,
                ..
            } => {
                let act_of = Act {
                    t: event.t,
                    by,
                    case,
                    action,
                    ticks,
                    step: *step,
                    answers: Vec::new(),
                };
                self.acts.insert(*act, act_of);
            }
            What::ActAnswered { act, status, said } => {
                if let Some(found) = self.acts.get_mut(act) {
                    found.answers.push((event.t, *status, said));
                }
            }
            _ => {}
        }
    }

    /// Cases by the alerts they are about.
    pub fn cases_of(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let mut of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (id, case) in &self.cases {
            for alert in case["alerts"].as_array().into_iter().flatten() {
                of.entry(alert["id"].as_str().unwrap_or_default())
                    .or_default()
                    .insert(id);
            }
        }
        of
    }

    /// A process ended and began between two instants, or about then.
    pub fn restarted_between(&self, from: u64, to: u64) -> bool {
        let mut restarts = self.restarts.iter();
        restarts.any(|(down, up)| *down <= to && *up >= from)
    }

    /// A process ended, or was frozen, between two instants.
    pub fn slept_between(&self, from: u64, to: u64) -> bool {
        let mut outages = self.outages.iter();
        outages.any(|(began, ended, blocks)| *blocks == "node" && *began <= to && *ended >= from)
    }

    /// How long anything was out between two instants, in microseconds; a chat that is out holds up no page,
    /// nor does a tail that will be lost.
    pub fn out_between(&self, from: u64, to: u64) -> u64 {
        let overlap = |(began, ended, _): &(u64, u64, &str)| {
            (*ended).min(to).saturating_sub((*began).max(from))
        };
        let outages = self.outages.iter();
        outages
            .filter(|(_, _, blocks)| !matches!(*blocks, "chat" | "tail"))
            .map(overlap)
            .sum()
    }
}

/// An RFC 3339 instant in milliseconds.
pub fn instant(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|at| at.as_millisecond())
}

/// What P3 lets end without a page.
pub fn needs_page(outcome: &str) -> bool {
    !matches!(outcome, "verified" | "snoozed" | "closed" | "shadow")
}
