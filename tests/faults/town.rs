//! What all simulated employees share, whatever chat they sit at: the history they write, what each of them
//! has in mind, and the codes of their authenticators.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::history::{History, What, wall_ms};
use super::producers::{Count, Nodes};

/// A time step of an authenticator.
const STEP_S: i64 = 30;
/// Those whose answer may be under way.
const NEWEST: usize = 3;

#[derive(Clone)]
pub struct Town {
    pub history: History,
    pub nodes: Nodes,
    acts: Arc<AtomicU64>,
    at_work: Arc<AtomicUsize>,
    fresh: Arc<AtomicUsize>,
    /// (employee, case, revision) of every question seen, for those who press what is not theirs.
    questions: Arc<Mutex<Vec<(String, String, u32)>>>,
    mischief: Arc<AtomicBool>,
    store_goes_back: Arc<AtomicBool>,
}

impl Town {
    pub fn new(history: &History, nodes: Nodes, mischief: bool) -> Self {
        Self {
            history: history.clone(),
            nodes,
            acts: Arc::default(),
            at_work: Arc::default(),
            fresh: Arc::default(),
            questions: Arc::default(),
            mischief: Arc::new(AtomicBool::new(mischief)),
            store_goes_back: Arc::default(),
        }
    }

    /// Redelivered clicks, old buttons, other people's questions, used and wrong codes.
    pub fn is_up_to_mischief(&self) -> bool {
        self.mischief.load(Ordering::SeqCst)
    }

    /// From now on people only answer what they are asked.
    pub fn calm_down(&self) {
        self.mischief.store(false, Ordering::SeqCst);
    }

    /// A store that forgets its last seconds forgets messages too: who saw them sees them no more.
    pub fn expect_losses(&self) {
        self.store_goes_back.store(true, Ordering::SeqCst);
    }

    pub fn expects_losses(&self) -> bool {
        self.store_goes_back.load(Ordering::SeqCst)
    }

    /// Answers under way.
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::SeqCst)
    }

    /// One more answer is under way, for as long as this lives.
    pub fn works(&self) -> Count {
        Count::up(&self.at_work)
    }

    /// Questions that have been seen for the first time; when it rises, a settlement is under way.
    pub fn fresh(&self) -> usize {
        self.fresh.load(Ordering::SeqCst)
    }

    /// Somebody sees a question for the first time.
    pub fn asks(&self, employee: &str, case: &str, revision: u32) {
        self.fresh.fetch_add(1, Ordering::SeqCst);
        let question = (employee.to_owned(), case.to_owned(), revision);
        self.questions.lock().unwrap().push(question);
    }

    /// Anybody's question, often one of the newest: whose, its case, its revision.
    pub fn any_question(&self, rng: &mut StdRng) -> Option<(String, String, u32)> {
        let questions = self.questions.lock().unwrap();
        let newest = match rng.random_bool(0.5) {
            true => questions.len().saturating_sub(NEWEST),
            false => 0,
        };
        questions[newest..].choose(rng).cloned()
    }

    /// Somebody begins to act.
    pub fn acted(
        &self,
        by: &str,
        case: &str,
        revision: u32,
        action: &str,
        ticks: Vec<(String, u32)>,
        step: Option<i64>,
    ) -> u64 {
        let act = self.next_act();
        self.history.note(What::Acted {
            act,
            by: by.to_owned(),
            case: case.to_owned(),
            revision,
            action: action.to_owned(),
            ticks,
            step,
        });
        act
    }

    pub fn next_act(&self) -> u64 {
        self.acts.fetch_add(1, Ordering::SeqCst)
    }

    pub fn answered(&self, act: u64, status: u16, said: &str) {
        self.history.note(What::ActAnswered {
            act,
            status,
            said: said.to_owned(),
        });
    }
}

/// One mind per case, whatever happens in between; rules that nobody answers are named so.
pub fn mind(seed: u64, case: &str, rule: &str) -> Option<&'static str> {
    if rule.starts_with("quiet") || rule.starts_with("open") {
        return None;
    }
    let mind = case
        .bytes()
        .fold(seed, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    Some(match mind % 10 {
        0..5 => "yes",
        5..8 => "no",
        _ => "not_sure",
    })
}

/// The time step that an authenticator is in.
pub fn step_now() -> i64 {
    wall_ms() / 1000 / STEP_S
}

/// The code of a time step, by an implementation that is not ours.
pub fn code(secret: &str, step: i64) -> String {
    let now = format!("--now=@{}", step * STEP_S);
    let output = Command::new("oathtool")
        .args(["--totp", "-b", secret, &now])
        .output()
        .expect("oathtool is installed: apt-get install oathtool");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
