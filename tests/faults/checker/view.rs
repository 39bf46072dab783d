//! A history turned over once, so that each invariant reads like its sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_json::Value;

use super::super::history::{Event, What};
use super::operators::{self, Word};
use super::trace::{Alert, Case, Instant, Page, Tellings, Told, Trace};

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
    pub events: &'a [Event<Told>],
    /// Alert id -> bodies sent.
    pub sent: BTreeMap<&'a str, Vec<&'a Alert>>,
    /// Alert id -> when it was first acknowledged (t, wall).
    pub acknowledged: BTreeMap<&'a str, Instant>,
    /// Case id -> as the API told it last.
    pub cases: BTreeMap<&'a str, &'a Case>,
    /// Of every case: by API and by records.
    pub tellings: BTreeMap<&'a str, &'a Tellings>,
    pub acts: BTreeMap<u64, Act<'a>>,
    /// Case id -> acts on it, ticks on a form among them.
    acts_on: BTreeMap<&'a str, BTreeSet<u64>>,
    /// What operators did, by their acts' numbers.
    pub words: BTreeMap<u64, Word<'a>>,
    /// Case id -> numbers of words about it.
    words_on: BTreeMap<&'a str, Vec<u64>>,
    /// Case id -> pages that were taken (t, wall, body).
    pub pages: BTreeMap<&'a str, Vec<(u64, i64, &'a Page)>>,
    /// Page id -> every time it came (t, wall, body), taken or not.
    page_calls: BTreeMap<&'a str, Vec<(u64, i64, &'a Page)>>,
    /// (from, to, what it blocks) of every outage, a dead node among them.
    pub outages: Vec<(u64, u64, &'a str)>,
    /// (from, to) of the outages that let nothing through, which their names say. What only waits for the next
    /// try after one (`+`) is none.
    pub total_outages: Vec<(u64, u64)>,
    /// (from, to) of every death of a process and its next life. The end of one may be noticed later.
    pub restarts: Vec<(u64, u64)>,
    pub crashes_only: bool,
    /// As `Began` has them.
    pub ladder_ms: &'a [i64],
    pub ack_expires_ms: i64,
    pub at_rest: bool,
    /// How many events there were.
    pub count: usize,
    pub began: Instant,
    pub end: Instant,
}

impl<'a> View<'a> {
    pub fn of(trace: &'a Trace) -> Self {
        let tellings = trace.cases.iter().map(|(id, told)| (id.as_str(), told));
        let tellings: BTreeMap<&str, &Tellings> = tellings.collect();
        let last = |(id, told): (&&'a str, &&'a Tellings)| Some((*id, told.last.as_ref()?));
        let mut view = Self {
            events: &trace.events,
            sent: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            cases: tellings.iter().filter_map(last).collect(),
            tellings,
            acts: BTreeMap::new(),
            acts_on: BTreeMap::new(),
            words: operators::words(&trace.events),
            words_on: BTreeMap::new(),
            pages: BTreeMap::new(),
            page_calls: BTreeMap::new(),
            outages: Vec::new(),
            total_outages: Vec::new(),
            restarts: Vec::new(),
            crashes_only: false,
            ladder_ms: &[],
            ack_expires_ms: 0,
            at_rest: false,
            count: trace.count,
            began: trace.first.unwrap_or_default(),
            end: trace.last.unwrap_or_default(),
        };
        for (act, word) in &view.words {
            view.words_on.entry(word.id).or_default().push(*act);
        }
        let mut began: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
        let mut down: BTreeMap<u32, u64> = BTreeMap::new();
        for event in view.events {
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
                        if is_total(fault) {
                            view.total_outages.push((from, event.t));
                        }
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
        let end = view.end.0;
        for (fault, (from, blocks)) in began {
            view.outages.push((from, end, blocks));
            if is_total(fault) {
                view.total_outages.push((from, end));
            }
        }
        let still = down.into_values().map(|from| (from, end, "node"));
        view.outages.extend(still);
        view
    }

    fn take(&mut self, event: &'a Event<Told>) {
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
            What::Page { id, applied, body } => {
                let page = (event.t, event.wall, body);
                self.page_calls.entry(id).or_default().push(page);
                if *applied && let Some(case) = body.key().split(':').next() {
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
                let on = ticks.iter().map(|(case, _)| case.as_str());
                for case in on.chain([case.as_str()]) {
                    self.acts_on.entry(case).or_default().insert(*act);
                }
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
            for alert in case.alerts() {
                of.entry(alert).or_default().insert(id);
            }
        }
        of
    }

    /// Acts on a case, ticks on a form among them.
    pub fn acts_on(&self, case: &str) -> impl Iterator<Item = &Act<'a>> {
        let acts = self.acts_on.get(case).into_iter().flatten();
        acts.map(|act| &self.acts[act])
    }

    /// What operators did to a case or its escalation.
    pub fn words_on(&self, case: &str) -> impl Iterator<Item = &Word<'a>> {
        let words = self.words_on.get(case).into_iter().flatten();
        words.map(|act| &self.words[act])
    }

    /// Every time a page of an escalation came, taken or not: its id, and (t, wall, body).
    pub fn page_calls<'s>(
        &'s self,
        of: &'s str,
    ) -> impl Iterator<Item = (&'a str, (u64, i64, &'a Page))> + 's {
        let from_it_on = (Bound::Included(of), Bound::Unbounded);
        let calls = self.page_calls.range::<str, _>(from_it_on);
        let of_it = calls.take_while(move |(id, _)| id.starts_with(of));
        of_it.flat_map(|(id, calls)| calls.iter().map(move |call| (*id, *call)))
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

fn is_total(fault: &str) -> bool {
    fault.contains("total") && !fault.ends_with('+')
}

/// An RFC 3339 instant in milliseconds.
pub fn instant(text: &Option<String>) -> Option<i64> {
    text.as_deref()?
        .parse::<jiff::Timestamp>()
        .ok()
        .map(|at| at.as_millisecond())
}

/// As a sentence names it: quoted, or `null`.
pub fn name(text: &Option<String>) -> Value {
    Value::from(text.as_deref())
}

/// What P3 lets end without a page.
pub fn needs_page(outcome: &str) -> bool {
    !matches!(outcome, "verified" | "snoozed" | "closed" | "shadow")
}
