//! The push service and the phones: what is asked there is answered at any time, also when nobody waits for it any
//! more; once only, for the question at the revision that was ticked.

use std::collections::BTreeMap;

use securitybot::core::alert::Severity;
use securitybot::core::case::CaseView;
use securitybot::core::conversation::{Effect as Said, Event, PushVerdict};
use securitybot::core::ids::CaseId;
use securitybot::core::machine::{Receipt, Settlement};
use securitybot::core::page::Raise;
use securitybot::core::time::Timestamp;

use crate::state::{Flight, State};

/// The id of a request that may have been sent, by a life that is over.
pub const LOST: &str = "lost";

/// What one request is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub who: usize,
    pub ticks: Vec<(String, u32)>,
    pub is_shown: bool,
    pub answer: Option<&'static str>,
}

/// By challenge.
pub type Phone = BTreeMap<String, Request>;

/// A commit decides to ask.
pub fn asked(state: &mut State, who: usize, event: &Event, said: &[&Said]) {
    for said in said {
        if let (Said::StartPush(push), Event::PushRequested { ticks, .. }) = (said, event) {
            let request = Request {
                who,
                ticks: ticks
                    .iter()
                    .map(|tick| (tick.case.to_string(), tick.revision))
                    .collect(),
                is_shown: false,
                answer: None,
            };
            state.phone.insert(push.challenge.to_string(), request);
        }
    }
}

/// The phone shows it.
pub fn arrives(state: &mut State, challenge: CaseId) -> String {
    let id = challenge.to_string();
    let request = state.phone.get_mut(&id);
    let again = request.is_none_or(|request| std::mem::replace(&mut request.is_shown, true));
    if again {
        let what = "a request came to the phone twice, or was never asked for";
        state.broken.insert(("P5", what.to_owned()));
    }
    id
}

/// What can be answered there.
pub fn answers(state: &State) -> impl Iterator<Item = (String, PushVerdict)> {
    let open = state
        .phone
        .iter()
        .filter(|(_, request)| request.is_shown && request.answer.is_none());
    open.flat_map(|(id, _)| {
        use PushVerdict::{Approved, Fraud, Refused};
        [Approved, Refused, Fraud].map(|verdict| (id.clone(), verdict))
    })
}

/// What waiting for it has come to.
pub fn heard(state: &State, said: &Said) -> Option<&'static str> {
    let Said::AwaitPush {
        transaction, until, ..
    } = said
    else {
        return None;
    };
    let answer = state.phone.get(transaction)?.answer;
    let is_over = state.now >= until.as_millis();
    answer.or(is_over.then_some(PushVerdict::Unanswered.name()))
}

/// How a flight to the push service ends; `None`: it is none.
pub fn settlement(state: &State, flight: &Flight) -> Option<Settlement> {
    let said = state.seen(&flight.from).said(flight.seq)?;
    let word = match said {
        Said::StartPush(_) if flight.taken.as_deref() == Some(LOST) => {
            let reason = "the request was lost by a restart".to_owned();
            return Some(Settlement::Impossible { reason });
        }
        Said::StartPush(_) => flight.taken.clone().unwrap_or_default(),
        Said::AwaitPush { .. } => heard(state, said)?.to_owned(),
        _ => return None,
    };
    Some(Settlement::Done(Receipt {
        message_id: word,
        at: Timestamp::from_millis(state.now),
        text: String::new(),
    }))
}

/// Until when somebody waits for an answer that has not come.
pub fn waits_until(state: &State, flight: &Flight) -> Option<i64> {
    match state.seen(&flight.from).said(flight.seq)? {
        Said::AwaitPush { until, .. } if !flight.orphan => Some(until.as_millis()),
        _ => None,
    }
}

/// The verdict of a push, and which.
pub fn verdict(event: &Event) -> Option<(String, PushVerdict)> {
    match event {
        Event::EffectSettled {
            effect: Said::AwaitPush { challenge, .. },
            settlement: Settlement::Done(receipt),
        } => Some((
            challenge.to_string(),
            PushVerdict::parse(&receipt.message_id),
        )),
        _ => None,
    }
}

/// Approved by that person, for this case as it is.
pub fn proves(state: &State, who: usize, event: &Event, case: &CaseView) -> bool {
    let Some((challenge, PushVerdict::Approved)) = verdict(event) else {
        return false;
    };
    state.phone.get(&challenge).is_some_and(|request| {
        let ticked = (case.id.to_string(), case.revision);
        request.who == who
            && request.answer == Some(PushVerdict::Approved.name())
            && request.ticks.contains(&ticked)
    })
}

/// A request that was refused pages as critical for each question that it was for and nobody has denied yet.
pub fn refusal_pages(state: &State, event: &Event, raised: &[Raise], said: &[&Said]) -> bool {
    let Some((challenge, PushVerdict::Refused | PushVerdict::Fraud)) = verdict(event) else {
        return true;
    };
    let Some(request) = state.phone.get(&challenge) else {
        return false;
    };
    let again = said.iter().filter_map(|said| match said {
        Said::RaiseAgain(raise) => Some(raise.as_ref()),
        _ => None,
    });
    let pages: Vec<&Raise> = raised.iter().chain(again).collect();
    request.ticks.iter().all(|(case, _)| {
        let is_denied = state.denied.contains(case);
        let paged =
            |page: &&Raise| page.id.to_string() == *case && page.urgency == Severity::Critical;
        is_denied || pages.iter().any(paged)
    })
}
