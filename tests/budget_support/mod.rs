//! What the benchmark of the core and its budget measure: the events of one ordinary case, each with the state
//! before it, and alerts as they come over HTTP. One place, so that both speak of the same work.
#![allow(dead_code, reason = "each binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../conversation_support/mod.rs"]
mod conversation_support;

use conversation_support::Bot;
use securitybot::actors::checkpoint::Outbox;
use securitybot::core::conversation::{Answer, Conversation, Effect, Event};
use securitybot::core::ids::{AggregateKey, CaseId, SourceId};
use securitybot::core::machine::{Context, Machine, Row, RowChange, Step};
use securitybot::core::time::Timestamp;
use securitybot::core::world::World;
use securitybot::plugins::formats::native;
use securitybot::store::{Batch, Commit, Head, Write, journal};

/// An event and the state that takes it.
pub struct Turn {
    pub before: Conversation,
    pub event: Event,
    pub now: Timestamp,
}

pub struct Samples {
    pub world: World,
    pub alert: Turn,
    pub yes: Turn,
    pub code: Turn,
    /// A step's state and effects as a checkpoint holds them.
    pub asked: Conversation,
    pub outbox: Outbox<Effect>,
    /// The journal records of the case, as they are chained.
    pub records: Vec<(Option<CaseId>, Timestamp, String)>,
    pub rows: Vec<Row>,
}

impl Samples {
    pub fn new() -> Self {
        let mut bot = Bot::new();
        let case = bot.ask("sudo", "web-3");
        bot.press(case, Answer::Yes);
        bot.submit(case, "restarting nginx", Some(7));
        let turn = |wanted: fn(&Event) -> bool| {
            let at = bot
                .history
                .iter()
                .position(|seen| wanted(&seen.event))
                .unwrap();
            Turn {
                before: bot.history[at - 1].step.next.clone(),
                event: bot.history[at].event.clone(),
                now: bot.history[at].now,
            }
        };
        let alert = turn(|event| matches!(event, Event::AlertsArrived { .. }));
        let yes = turn(|event| matches!(event, Event::ButtonPressed { .. }));
        let code = turn(|event| matches!(event, Event::FormSubmitted { .. }));
        let opened = step(&alert, &bot.world);
        let outbox = Outbox::new().after(None, &[], &Default::default(), opened.effects, alert.now);
        let steps = || bot.history.iter().map(|seen| &seen.step);
        let records = steps()
            .flat_map(|step| &step.records)
            .map(|record| {
                let body = serde_json::to_string(record).unwrap();
                (record.case_id, record.at, body)
            })
            .collect();
        let rows = steps()
            .flat_map(|step| &step.rows)
            .filter_map(|row| match row {
                RowChange::Put(row) | RowChange::New(row) => Some(row.clone()),
                RowChange::Delete { .. } => None,
            })
            .collect();
        Self {
            alert,
            yes,
            code,
            asked: opened.next,
            outbox,
            records,
            rows,
            world: bot.world,
        }
    }

    /// `size` conversations that take their first alert, as one batch; `nth` makes their names new.
    pub fn batch(&self, epoch: u64, head: &Head, nth: u64, size: u64) -> (Batch, Head) {
        let state = securitybot::actors::checkpoint::encode(&self.asked, &self.outbox);
        let guard = serde_json::to_string(&self.asked.guard()).unwrap();
        let writes = (0..size).map(|n| {
            let name = format!("employee/e{nth}-{n}");
            let mut row = self.rows[0].clone();
            row.id = CaseId::new(self.alert.now, u128::from(nth * 1_000 + n), 0).to_string();
            Write::Commit(Commit {
                key: AggregateKey { partition: 0, name },
                expected: 0,
                state: state.clone(),
                guard: guard.clone(),
                pieces: securitybot::store::PieceChanges::default(),
                due: Some(self.alert.now),
                due_stands: false,
                rows: vec![RowChange::Put(row)],
                births: Vec::new(),
            })
        });
        let records = (0..size as usize).map(|n| self.records[n % self.records.len()].clone());
        let (journal, after) = journal::chain(head, records);
        let batch = Batch {
            partition: 0,
            epoch,
            head_before: head.clone(),
            writes: writes.collect(),
            journal,
            now: self.alert.now,
        };
        (batch, after)
    }
}

pub fn step(turn: &Turn, world: &World) -> Step<Conversation> {
    let cx = Context {
        now: turn.now,
        entropy: 7,
        world,
    };
    turn.before.step(&turn.event, &cx)
}

/// A request's body with this many alerts.
pub fn body(alerts: usize) -> String {
    let alerts: Vec<_> = (0..alerts)
        .map(|n| {
            format!(
                r#"{{"id":"a-{n}","principal":"alice","rule":"sudo","title":"sudo -i on web-3","reason":"TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/bash","severity":"medium","occurred_at":"2026-11-24T02:14:00Z","context":{{"host":"web-3","source_address":"10.0.0.7"}}}}"#
            )
        })
        .collect();
    format!("[{}]", alerts.join(","))
}

pub fn parse(body: &str) -> usize {
    let parsed = native::parse(body.as_bytes(), &SourceId::from("local"), None).unwrap();
    parsed.into_iter().filter(Result::is_ok).count()
}
