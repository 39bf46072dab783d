//! The promises, as far as this world can break them. What a commit says is judged when it lands; what
//! the other sides have is judged in every state, and what is left when nothing more can happen.

use std::any::Any;
use std::collections::BTreeMap;

use securitybot::core::case::{CaseState, CaseView, Outcome};
use securitybot::core::conversation::{Answer, Effect as Said, Event, Inbound, Proof, PushVerdict};
use securitybot::core::ids::AggregateKey;
use securitybot::core::machine::{Collection, RowChange};
use securitybot::core::page::Raise;
use securitybot::core::time::Timestamp;
use securitybot::store::Commit;
use stateright::Property;

use crate::phone;
use crate::shell::Kept;
use crate::state::{Bot, Chat, END, PEOPLE, Shows, State, Written};

/// Of an alert of high severity, from its acceptance.
const CEILING_MS: i64 = 30 * 60_000;

fn view(row: &RowChange) -> Option<CaseView> {
    match row {
        RowChange::Put(row) | RowChange::New(row) if row.collection == Collection::Cases => {
            serde_json::from_str(&row.body).ok()
        }
        _ => None,
    }
}

pub fn keep_row(state: &mut State, row: RowChange) {
    match row {
        RowChange::Put(row) | RowChange::New(row) if row.collection == Collection::Cases => {
            let read = |text: &str| serde_json::from_str(text).unwrap();
            state.rows.insert(row.id, Written::new(row.body, read));
        }
        RowChange::Put(row) | RowChange::New(row) if row.collection == Collection::Snoozes => {
            let read = |text: &str| serde_json::from_str(text).unwrap();
            state.snoozes.insert(row.id, Written::new(row.body, read));
        }
        RowChange::Delete {
            collection: Collection::Snoozes,
            id,
        } => {
            state.snoozes.remove(&id);
        }
        _ => {}
    }
}

pub fn cases(state: &State) -> impl Iterator<Item = &CaseView> {
    state.rows.values().map(|row| row.read.as_ref())
}

/// One commit, before it lands.
pub fn of_commit<M: Kept>(
    state: &mut State,
    bot: &Bot,
    key: &AggregateKey,
    event: &M::Event,
    commit: &Commit,
    raised: &[Raise],
    said: &[&Said],
) {
    let Some(event) = (event as &dyn Any).downcast_ref::<Event>() else {
        return;
    };
    let mut wrong = Vec::new();
    phone::asked(state, who(key), event, said);
    if !phone::refusal_pages(state, event, raised, said) {
        wrong.push(("P3", "a refused push without a critical page".to_owned()));
    }
    if let Some((challenge, PushVerdict::Refused | PushVerdict::Fraud)) = phone::verdict(event) {
        let ticks = state.phone.get(&challenge).map(|push| push.ticks.clone());
        let cases = ticks.into_iter().flatten().map(|(case, _)| case);
        state.denied.extend(cases);
    }
    for after in commit.rows.iter().filter_map(view) {
        let before = state.rows.get(&after.id.to_string());
        let before = before.map(|row| row.read.clone());
        let was = before.as_ref().and_then(|before| before.outcome);
        if was.is_some() && was != after.outcome {
            wrong.push(("P2", format!("{was:?} became {:?}", after.outcome)));
        }
        let deadline = before.and_then(|before| before.deadline);
        if deadline.is_some() && deadline != after.deadline {
            wrong.push(("P6", "a deadline moved".to_owned()));
        }
        if let (None, Some(outcome)) = (was, after.outcome)
            && let Err(broken) = ended_rightly(state, bot, key, event, &after, outcome, raised)
        {
            wrong.push(broken);
        }
    }
    for row in &commit.rows {
        if let RowChange::Put(row) | RowChange::New(row) = row
            && row.collection == Collection::Snoozes
            && !state.snoozes.contains_key(&row.id)
        {
            let by = commit
                .rows
                .iter()
                .filter_map(view)
                .find(|case| case.id.to_string() == row.id);
            if by.and_then(|case| case.outcome) != Some(Outcome::Verified) {
                wrong.push(("P7", "a snooze without a verified yes".to_owned()));
            }
        }
    }
    state.broken.extend(wrong);
}

fn who(key: &AggregateKey) -> usize {
    let mut people = PEOPLE.iter();
    people.position(|name| key.subject() == *name).unwrap()
}

fn ended_rightly(
    state: &mut State,
    bot: &Bot,
    key: &AggregateKey,
    event: &Event,
    case: &CaseView,
    outcome: Outcome,
    raised: &[Raise],
) -> Result<(), (&'static str, String)> {
    let who = who(key);
    let owns = |inbound: &Inbound| inbound.from.user == PEOPLE[who];
    if outcome.needs_page() && !raised.iter().any(|page| page.id == case.id) {
        return Err(("P3", format!("{} without a page", outcome.name())));
    }
    let fine = match (outcome, event) {
        (
            Outcome::Verified,
            Event::FormSubmitted {
                inbound,
                ticks,
                proof: Some(Proof::Totp { step: Some(step) }),
                ..
            },
        ) => {
            let ticked = ticks
                .iter()
                .any(|t| t.case == case.id && t.revision == case.revision);
            owns(inbound) && ticked && state.proved.insert((who, *step))
        }
        (
            Outcome::Denied,
            Event::ButtonPressed {
                inbound,
                answer: Answer::No,
                ..
            },
        ) => owns(inbound),
        (Outcome::Verified, Event::EffectSettled { .. }) => phone::proves(state, who, event, case),
        (Outcome::Verified | Outcome::Denied, _) => false,
        _ => true,
    };
    if !fine {
        return Err(("P5", format!("{} by {}", outcome.name(), event.name())));
    }
    // Behind other questions, or after a long outage, it may never have been asked: then its ceiling counts.
    let accepted = alerts_of(bot, case).map(|nth| state.queue[nth].0).min();
    let due = case.deadline.map(Timestamp::as_millis);
    let due = due.or(accepted.map(|accepted| accepted + CEILING_MS));
    if outcome == Outcome::NoAnswer && due.is_none_or(|due| state.now < due) {
        return Err(("P6", "no answer before its time was over".to_owned()));
    }
    if outcome == Outcome::Snoozed {
        let by = case
            .snoozed_by
            .and_then(|by| state.snoozes.get(&by.to_string()));
        let by = by.map(|row| row.read.clone());
        let covered = by.is_some_and(|by| {
            by.context == case.context
                && Some(&by.employee) == case.employee.as_ref()
                && state.now < by.until.as_millis()
                && accepted.is_some_and(|accepted| by.from.as_millis() < accepted)
        });
        if !covered {
            return Err(("P7", "suppressed by no snooze of its own".to_owned()));
        }
    }
    Ok(())
}

fn alerts_of<'a>(bot: &'a Bot, case: &'a CaseView) -> impl Iterator<Item = usize> + 'a {
    let ids = case.alerts.iter().map(|alert| alert.id.clone());
    ids.filter_map(|id| id.parse().ok())
        .filter(|nth| *nth < bot.alerts.len())
}

fn asked_once(bot: &Bot, state: &State) -> bool {
    if state.frozen && bot.chat == Chat::ReadBack {
        return true; // the platform offers nothing against that
    }
    let mut asked: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for message in state.chat.values().filter(|message| message.question) {
        let of = asked
            .entry(message.case.as_deref().unwrap_or_default())
            .or_default();
        of.0 += 1;
        of.1 += usize::from(message.shows != Shows::Over);
    }
    asked
        .values()
        .all(|(questions, live)| *questions <= 1 && *live <= 1)
}

/// Nothing happens any more unless somebody does something.
pub fn is_at_rest(state: &State) -> bool {
    let waits = |key: &AggregateKey| {
        let seen = state.seen(key);
        !seen.is_done() || seen.due().is_some_and(|due| due.as_millis() <= END)
    };
    state.flights.is_empty()
        && state.pending.is_empty()
        && state.queue.iter().all(|(_, gone)| *gone)
        && !state.store.keys().any(waits)
}

/// Every accepted alert is still queued or in exactly one case, of its own person.
fn nothing_lost(bot: &Bot, state: &State) -> bool {
    let cases: Vec<&CaseView> = cases(state).collect();
    state.queue.iter().enumerate().all(|(nth, (_, gone))| {
        let alert = &bot.alerts[nth];
        let of: Vec<&CaseView> = cases
            .iter()
            .copied()
            .filter(|case| alerts_of(bot, case).any(|n| n == nth))
            .collect();
        let owner = |case: &CaseView| {
            case.employee
                .as_ref()
                .is_some_and(|id| id.as_str() == PEOPLE[alert.who])
        };
        of.len() <= 1 && (of.len() == 1 || !gone) && of.iter().all(|case| owner(case))
    })
}

/// The pager has the latest round's page of every case that needs one: an earlier one may have failed.
fn ended_and_paged(_: &Bot, state: &State) -> bool {
    let paged = |case: &CaseView| {
        let escalation = state
            .store
            .keys()
            .find(|key| key.subject() == case.id.to_string());
        let round = escalation.and_then(|key| state.seen(key).round());
        round.is_some_and(|round| state.pages.contains(&format!("{}:{round}:1", case.id)))
    };
    !is_at_rest(state)
        || cases(state).all(|case| {
            case.outcome
                .is_some_and(|outcome| !outcome.needs_page() || paged(case))
        })
}

fn no_button_left(bot: &Bot, state: &State) -> bool {
    let over = |message: &crate::state::Message| !message.question || message.shows == Shows::Over;
    let excused = state.frozen && bot.chat != Chat::InTheStore;
    excused || !is_at_rest(state) || state.chat.values().all(over)
}

/// What a commit says stands in it: no instant at which a question is open and not shown, or over and still live.
fn shown_as_decided(bot: &Bot, state: &State) -> bool {
    let is_live = |case: &CaseView| {
        let id = case.id.to_string();
        let mut messages = state.chat.values().filter(|m| m.question);
        messages.any(|m| m.case.as_ref() == Some(&id) && m.shows != Shows::Over)
    };
    bot.chat != Chat::InTheStore
        || cases(state).all(|case| {
            let is_asked = matches!(case.state, CaseState::Asked | CaseState::Verifying);
            case.state != CaseState::Queued && is_live(case) == is_asked
        })
}

fn unbroken(state: &State, promise: &str) -> bool {
    state.broken.iter().all(|(broken, _)| *broken != promise)
}

fn some(state: &State, outcome: Outcome) -> bool {
    cases(state).any(|case| case.outcome == Some(outcome))
}

pub fn properties(bot: &Bot) -> Vec<Property<Bot>> {
    let mut all = vec![
        Property::always("P1: no accepted alert is lost or taken twice", nothing_lost),
        Property::always("P2: an outcome never changes", |_, s: &State| {
            unbroken(s, "P2")
        }),
        Property::always("P3: nothing ends unseen", |_, s: &State| unbroken(s, "P3")),
        Property::always("P4: asked once", asked_once),
        Property::always(
            "P5: nobody answers for somebody else, no code proves twice",
            |_, s: &State| unbroken(s, "P5"),
        ),
        Property::always("P6: never early, no deadline moves", |_, s: &State| {
            unbroken(s, "P6")
        }),
        Property::always("P7: only a verified yes snoozes", |_, s: &State| {
            unbroken(s, "P7")
        }),
        Property::always("P8: text is only text", |_, s: &State| unbroken(s, "P8")),
        Property::always("a chat in the store shows what is so", shown_as_decided),
        Property::always(
            "at rest every case has ended, and is paged once",
            ended_and_paged,
        ),
        Property::always("at rest no button is left", no_button_left),
    ];
    // A world that never got there would prove nothing.
    let mut reached =
        |name, condition: fn(&Bot, &State) -> bool| all.push(Property::sometimes(name, condition));
    if bot.depth == 0 {
        reached("somebody does not answer", |_, s| {
            some(s, Outcome::NoAnswer)
        });
        reached("it comes to rest", |_, s| {
            is_at_rest(s) && !s.pages.is_empty()
        });
        if bot.acts > 1 {
            reached("somebody proves a yes", |_, s| some(s, Outcome::Verified));
        }
        if bot.faults > 0 && bot.chat != Chat::InTheStore {
            reached("somebody cannot be reached", |_, s| {
                some(s, Outcome::Unreachable)
            });
        }
    }
    if bot.pushes {
        reached("a push proves a yes", |_, s| {
            cases(s).any(|case| case.factor.as_deref() == Some("duo"))
        });
        reached("a push is refused", |_, s| {
            some(s, Outcome::VerificationFailed) && !s.denied.is_empty()
        });
        reached("a push is approved too late", |_, s| {
            let late = |request: &phone::Request| request.answer == Some("approved");
            let otherwise = [Outcome::Denied, Outcome::VerificationFailed];
            otherwise.iter().any(|outcome| some(s, *outcome)) && s.phone.values().any(late)
        });
    }
    reached("somebody denies", |_, s| some(s, Outcome::Denied));
    if bot.alerts.len() > 1 && bot.people == 1 {
        reached("a question is about two alerts", |_, s| {
            cases(s).any(|case| case.count > 1)
        });
    }
    if bot.alerts.len() == 2 && bot.people == 1 && bot.faults == 0 {
        reached("an alert is snoozed", |_, s| some(s, Outcome::Snoozed));
    }
    all
}
