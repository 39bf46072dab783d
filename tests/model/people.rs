//! People and what they see: each presses what is before their eyes, an old button, or what is not theirs.

use securitybot::core::conversation::effect::Outgoing;
use securitybot::core::conversation::{Answer, Content, Event, Inbound, Proof, Tick};
use securitybot::core::ids::CaseId;
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;

use crate::conversation_support::identity;
use crate::state::{Act, Bot, Does, Message, PEOPLE, Shows, State};
use crate::steps::fresh_code;
use crate::text::HOSTILE;

pub fn shown(message: &Outgoing) -> Message {
    let (question, shows) = match &message.content {
        Content::Question { question } => (Some(question), Shows::Buttons),
        Content::ProofForm { question, .. } => (Some(question), Shows::Form),
        Content::Ended { question, .. } => (Some(question), Shows::Over),
        _ => (None, Shows::Over),
    };
    Message {
        to: message.to.user.clone(),
        case: message.case.map(|case| case.to_string()),
        revision: question.map_or(0, |question| question.revision),
        question: question.is_some(),
        shows,
    }
}

/// What may be done now: new acts while there are some left, and every one that was not confirmed.
pub fn acts(bot: &Bot, state: &State) -> Vec<Act> {
    let mut acts: Vec<Act> = state.pending.iter().cloned().collect();
    for message in state.chat.values().filter(|message| message.question) {
        let to = PEOPLE.iter().position(|name| *name == message.to).unwrap();
        for by in (0..bot.people).filter(|by| state.acts[*by] > 0) {
            let act = Act {
                by,
                nth: bot.acts - state.acts[by],
                to,
                case: message.case.clone().unwrap_or_default(),
                revision: message.revision,
                does: Does::Yes,
            };
            let mut may = |does| {
                acts.push(Act {
                    does,
                    ..act.clone()
                })
            };
            // Also a form's and a closed message's: an old page still shows the buttons.
            may(Does::No);
            match message.shows {
                Shows::Buttons => may(Does::Yes),
                Shows::Form => {
                    may(fresh_code(&act));
                    if bot.pushes {
                        may(Does::Push);
                    }
                }
                Shows::Over => {}
            }
            // A code once more, for whatever else there is.
            if let Some((_, used)) = state.proved.iter().find(|(who, _)| *who == to) {
                may(Does::Code(Some(*used)));
            }
            if message.revision > 1 {
                let old = Act {
                    revision: message.revision - 1,
                    ..act
                };
                if bot.pushes && message.shows == Shows::Form {
                    let does = Does::Push;
                    acts.push(Act {
                        does,
                        ..old.clone()
                    });
                }
                acts.push(old);
            }
        }
    }
    acts.sort();
    acts.dedup();
    acts
}

pub fn event(act: &Act, now: i64) -> Event {
    let inbound = Inbound {
        event_id: format!("{}-{}", PEOPLE[act.by], act.nth),
        from: identity(PEOPLE[act.by]),
        at: Timestamp::from_millis(now),
    };
    let case = CaseId::parse(&act.case).unwrap();
    let press = |answer| Event::ButtonPressed {
        inbound: inbound.clone(),
        case,
        revision: act.revision,
        answer,
        shown: true,
    };
    let ticks = vec![Tick {
        case,
        revision: act.revision,
    }];
    match act.does {
        Does::Yes => press(Answer::Yes),
        Does::No => press(Answer::No),
        Does::Code(step) => Event::FormSubmitted {
            inbound: inbound.clone(),
            case,
            ticks,
            explanation: Untrusted::from(HOSTILE),
            proof: Some(Proof::Totp { step }),
        },
        Does::Push => Event::PushRequested {
            inbound: inbound.clone(),
            case,
            ticks,
            explanation: Untrusted::from(HOSTILE),
        },
    }
}
