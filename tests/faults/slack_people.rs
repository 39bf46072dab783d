//! Employees at Slack: each presses buttons, types answers, and fills in the form that opens, as its
//! character says. What Slack was told of it is acknowledged or not; either goes into the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::slack::{Asked, Workspace, user_of};
use super::town::{Town, code, mind, step_now};

const LOOK_EVERY: Duration = Duration::from_millis(150);
/// Slack gives the app three seconds; then it delivers again.
const AT_ONCE: Duration = Duration::from_secs(3);
/// How long somebody waits in all for a sign that their click counted.
const PATIENCE: Duration = Duration::from_secs(12);
/// As a status: the question is not open any more.
const OVER: u16 = 409;
/// Before a click is tried again, or a form opened again.
const TRY_AGAIN: Duration = Duration::from_secs(6);

pub struct SlackEmployee {
    name: String,
    user: String,
    secret: String,
    slack: Workspace,
    town: Town,
    rng: StdRng,
    seed: u64,
    seen: BTreeSet<(String, u32)>,
    /// When to act, by case.
    thinking: BTreeMap<String, Instant>,
    /// The click that should have opened a form, by case.
    triggers: BTreeMap<String, String>,
    last_step: i64,
    replays: u32,
    /// What was clicked before, to be delivered once more.
    envelopes: Vec<String>,
    last: Option<Asked>,
}

impl SlackEmployee {
    pub fn new(name: &str, secret: String, slack: &Workspace, town: &Town, seed: u64) -> Self {
        let own = seed ^ name.bytes().fold(17, |h, b| h * 31 + u64::from(b));
        Self {
            name: name.to_owned(),
            user: user_of(name),
            secret,
            slack: slack.clone(),
            town: town.clone(),
            rng: StdRng::seed_from_u64(own),
            seed,
            seen: BTreeSet::new(),
            thinking: BTreeMap::new(),
            triggers: BTreeMap::new(),
            last_step: 0,
            replays: 0,
            envelopes: Vec::new(),
            last: None,
        }
    }

    /// Looks and answers in a thread of its own until it is told to stop.
    pub fn live(mut self, stop: Arc<AtomicBool>) {
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                self.act();
                thread::sleep(LOOK_EVERY);
            }
        });
    }

    fn act(&mut self) {
        let mut proof = None;
        let open = self.slack.open_to(&self.name);
        let mut proves = open.iter().any(|asked| asked.form.is_some());
        for asked in open {
            if asked.question && self.seen.insert((asked.case.clone(), asked.revision)) {
                self.town.asks(&self.name, &asked.case, asked.revision);
            }
            let Some(action) = mind(self.seed, &asked.case, &asked.rule) else {
                continue;
            };
            if !self.is_time_for(&asked) {
                continue;
            }
            if asked.form.is_some() && action == "yes" {
                proof.get_or_insert(asked);
                continue;
            }
            // One code for all: what waits meanwhile stands on the next form, to be ticked.
            if action == "yes" && proves && self.rng.random_ratio(9, 10) {
                self.wait(&asked.case);
                continue;
            }
            proves |= action == "yes";
            if self.rng.random_ratio(1, 4) && !asked.reference.is_empty() {
                self.type_answer(&asked, action);
            } else {
                self.press(&asked, action);
            }
        }
        if let Some(asked) = proof {
            self.prove(&asked);
        }
        if self.town.is_up_to_mischief() && self.rng.random_ratio(1, 20) {
            self.make_mischief();
        }
    }

    fn is_time_for(&mut self, asked: &Asked) -> bool {
        let think = Duration::from_millis(self.rng.random_range(0..1500));
        let from = self.thinking.entry(asked.case.clone());
        *from.or_insert_with(|| Instant::now() + think) <= Instant::now()
    }

    fn wait(&mut self, case: &str) {
        let again = Instant::now() + TRY_AGAIN;
        self.thinking.insert(case.to_owned(), again);
    }

    fn press(&mut self, asked: &Asked, action: &str) {
        let Some(button) = asked.button(action) else {
            // Only the form is left, and they think otherwise now: it stays open until its deadline.
            return self.type_answer(asked, action);
        };
        let act = self.acted(asked, action);
        let (envelope, trigger) = self.slack.fake.press(&self.user, &asked.place, button);
        if action == "yes" {
            self.triggers.insert(asked.case.clone(), trigger);
        }
        if self.town.is_up_to_mischief() && self.rng.random_ratio(1, 4) {
            // The same click once more.
            self.slack.fake.deliver_again(&envelope);
        }
        self.settle(act, envelope);
        self.last = Some(asked.clone());
        self.wait(&asked.case);
    }

    fn type_answer(&mut self, asked: &Asked, action: &str) {
        let words = action.replace('_', " ");
        let act = self.acted(asked, action);
        let said = format!("{words} {}", asked.reference);
        let envelope = self.slack.fake.say(&self.user, &said);
        self.settle(act, envelope);
        self.wait(&asked.case);
    }

    fn acted(&self, asked: &Asked, action: &str) -> u64 {
        let (case, revision) = (&asked.case, asked.revision);
        self.town
            .acted(&self.name, case, revision, action, Vec::new(), None)
    }

    /// Waits for the acknowledgement and writes down what came; what it says to the person, if anything.
    fn settle(&mut self, act: u64, envelope: String) -> Option<Value> {
        let _working = self.town.works();
        let mut payload = self.slack.acknowledged(&envelope, AT_ONCE);
        if payload.is_none() {
            self.town.answered(act, 503, "not acknowledged in time");
            payload = self.slack.acknowledged(&envelope, PATIENCE);
        }
        if let Some(payload) = &payload {
            let (status, said) = answer_of(payload);
            // Delivered more than once: what has its answer already may have it from this very act.
            let again = self.slack.deliveries(&envelope) > 1;
            let status = if status == OVER && again { 503 } else { status };
            self.town.answered(act, status, &said);
        }
        self.envelopes.push(envelope);
        payload
    }

    fn prove(&mut self, asked: &Asked) {
        let step = step_now();
        if step <= self.last_step {
            return;
        }
        let Some(view) = self.form_of(asked) else {
            return self.wait(&asked.case);
        };
        // Five wrong ones would lock this person out.
        if self.town.is_up_to_mischief()
            && self.last_step > 0
            && self.replays < 2
            && self.rng.random_ratio(1, 6)
        {
            self.replays += 1;
            self.submit(&view, self.last_step);
        }
        // Whatever becomes of it, this code is not tried again by an honest person.
        self.last_step = step;
        self.replays = 0;
        let answer = self.submit(&view, step);
        let stays = answer.is_some_and(|answer| answer["response_action"] == "errors");
        if !stays {
            self.triggers.remove(&asked.case);
        }
        self.wait(&asked.case);
    }

    /// The form that their yes opened, else the one that the button opens.
    fn form_of(&mut self, asked: &Asked) -> Option<Value> {
        let opened = self.triggers.get(&asked.case);
        if let Some(view) = opened.and_then(|trigger| self.slack.form(trigger, Duration::ZERO)) {
            return Some(view);
        }
        let button = asked.form.as_ref()?;
        let (_, trigger) = self.slack.fake.press(&self.user, &asked.place, button);
        let view = self.slack.form(&trigger, AT_ONCE);
        self.triggers.insert(asked.case.clone(), trigger);
        view
    }

    fn submit(&mut self, view: &Value, step: i64) -> Option<Value> {
        let code = code(&self.secret, step);
        let ticks = self.ticks(view);
        let (case, revision) = ticks.first().cloned()?;
        let act = self.town.acted(
            &self.name,
            &case,
            revision,
            "confirm",
            ticks.clone(),
            Some(step),
        );
        let ticked: Vec<String> = ticks
            .iter()
            .map(|(case, revision)| format!("{case}:{revision}"))
            .collect();
        let fields = [
            ("why", "routine work"),
            ("factor", "code"),
            ("code", &code),
            ("ticks", &ticked.join(",")),
        ];
        let envelope = self.slack.fake.send_form(&self.user, view, &fields);
        self.settle(act, envelope)
    }

    /// Of what the form asks to be confirmed, all that they would say yes to.
    fn ticks(&self, view: &Value) -> Vec<(String, u32)> {
        let pair = |value: &Value| {
            let (case, revision) = value.as_str()?.split_once(':')?;
            Some((case.to_owned(), revision.parse().ok()?))
        };
        let mut blocks = view["blocks"].as_array().into_iter().flatten();
        let boxes = blocks.find(|block| block["block_id"] == "ticks");
        let Some(boxes) = boxes else {
            return pair(&view["private_metadata"]).into_iter().collect();
        };
        let open = self.slack.open_to(&self.name);
        let is_theirs = |case: &str| {
            let mut open = open.iter();
            open.find(|asked| asked.case == case)
                .is_some_and(|asked| mind(self.seed, case, &asked.rule) == Some("yes"))
        };
        let options = boxes["element"]["options"].as_array().into_iter().flatten();
        options
            .filter_map(|option| pair(&option["value"]))
            .filter(|(case, _)| is_theirs(case))
            .collect()
    }

    fn make_mischief(&mut self) {
        if self.rng.random_ratio(1, 2) && !self.envelopes.is_empty() {
            // Slack delivers again what it delivered long ago.
            let nth = self.rng.random_range(0..self.envelopes.len());
            return self.slack.fake.deliver_again(&self.envelopes[nth]);
        }
        let (Some((of, case, revision)), Some(own)) =
            (self.town.any_question(&mut self.rng), self.last.clone())
        else {
            return;
        };
        // Somebody else's question with any answer, or an own one that is over with a yes.
        if of == self.name && self.slack.is_live(&case) {
            return;
        }
        let action = match of == self.name {
            true => "yes",
            false => ["yes", "no", "not_sure"][self.rng.random_range(0..3)],
        };
        let button =
            json!({ "type": "button", "action_id": action, "value": format!("{case}:{revision}") });
        // What became of it is said to them alone, and not in the acknowledgement.
        self.town
            .acted(&self.name, &case, revision, action, Vec::new(), None);
        self.slack.fake.press(&self.user, &own.place, &button);
    }
}

/// An acknowledgement as a status: taken, refused, over, or perhaps.
fn answer_of(payload: &Value) -> (u16, String) {
    let said = match payload["response_action"].as_str() {
        None => return (200, String::new()),
        Some("errors") => payload["errors"].to_string(),
        Some(_) => payload["view"].to_string(),
    };
    let perhaps = said.contains("longer than usual") || said.contains("Not sent");
    let over = payload["response_action"] == "update";
    let status = match (perhaps, over) {
        (true, _) => 503,
        (_, true) => OVER,
        _ => 422,
    };
    (status, said)
}
