//! What an employee asked for by a command and has to prove with a code: a longer snooze, practice. It is no
//! case: nothing is asked, paged or snoozed for it. At most one is open; it lives in the state like a
//! question, so a restart between request and code changes nothing, and its code counts like any other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::alert::Severity;
use crate::core::ids::{CaseId, ChatIdentity};
use crate::core::machine::Receipt;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::effect::{Content, Effect, Outgoing, PracticeStep, SnoozeStep};
use super::event::{Answer, Inbound, Proof, Reply};
use super::form_submitted::{EXPLAIN, LOCKED, refused};
use super::turn::Turn;

/// Long enough to fetch a phone, short enough that nobody finds it open tomorrow.
const OPEN_FOR: Duration = Duration::from_secs(30 * 60);
/// The revision that buttons and forms of a request carry. Those of cases begin at one, so a stale button
/// of practice is never taken for a no to a question that is no longer kept.
pub const REVISION: u32 = 0;

/// One request and its one message in the chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Stands in buttons and form where a case's id stands otherwise.
    pub id: CaseId,
    /// Who asked; the code must come from there.
    pub identity: ChatIdentity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_at: Option<Timestamp>,
    /// Without a code it is over then, and forgotten.
    pub until: Timestamp,
    pub wish: Wish,
    /// What its message shows now.
    pub shows: Content,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    Practice,
    Snooze {
        /// The case whose verified yes made the snooze.
        case: CaseId,
        until: Timestamp,
    },
}

impl Request {
    pub fn is_open(&self) -> bool {
        is_live(&self.shows)
    }

    /// For the journal.
    pub fn name(&self) -> &'static str {
        match self.wish {
            Wish::Practice => "practice",
            Wish::Snooze { .. } => "a longer snooze",
        }
    }
}

/// Whether something can be answered in a message of a request.
fn is_live(shows: &Content) -> bool {
    matches!(
        shows,
        Content::Practice {
            step: PracticeStep::Asked | PracticeStep::Proving,
            ..
        } | Content::Snooze {
            step: SnoozeStep::Form,
            ..
        }
    )
}

/// The same message once nothing can be answered in it any more.
fn over(shows: &Content) -> Content {
    let mut last = shows.clone();
    match &mut last {
        Content::Practice { step, .. } if is_live(shows) => *step = PracticeStep::Over,
        Content::Snooze { step, .. } if is_live(shows) => *step = SnoozeStep::Over,
        _ => {}
    }
    last
}

impl Turn<'_> {
    /// Sends its message; an earlier request that is still open is over.
    pub fn begin_request(&mut self, id: CaseId, from: &ChatIdentity, wish: Wish, shows: Content) {
        if let Some(earlier) = self.next.request.clone() {
            // With the withdrawn effects an edit that took its buttons away may be gone: it is said again.
            self.withdraw.push(earlier.id);
            self.show_request(over(&earlier.shows));
        }
        self.next.request = Some(Request {
            id,
            identity: from.clone(),
            message_id: None,
            message_at: None,
            until: self.now().after(OPEN_FOR),
            wish,
            shows: shows.clone(),
        });
        self.effects
            .extend(self.request_message(shows).map(Effect::Send));
    }

    fn request_message(&self, content: Content) -> Option<Outgoing> {
        let request = self.next.request.as_ref()?;
        Some(Outgoing {
            to: request.identity.clone(),
            employee: self.next.employee()?.clone(),
            case: Some(request.id),
            urgency: Severity::Low,
            content,
        })
    }

    /// Its message shows this from now on.
    pub fn show_request(&mut self, shows: Content) {
        let Some(request) = &mut self.next.request else {
            return;
        };
        request.shows = shows.clone();
        let (message_id, sent_at) = (request.message_id.clone(), request.message_at);
        if let (Some(message_id), Some(message)) = (message_id, self.request_message(shows)) {
            self.effects.push(Effect::Edit {
                message_id,
                sent_at,
                message,
            });
        }
    }

    /// Takes its buttons away, if it still has any.
    pub fn end_request(&mut self) {
        let open = self
            .next
            .request
            .as_ref()
            .filter(|request| request.is_open());
        if let Some(shows) = open.map(|request| over(&request.shows)) {
            self.show_request(shows);
        }
    }

    /// The chat took a message of a request; one that is gone by now loses its buttons.
    pub fn request_sent(&mut self, sent: &Outgoing, receipt: &Receipt) {
        let edit = |content| Effect::Edit {
            message_id: receipt.message_id.clone(),
            sent_at: Some(receipt.at),
            message: Outgoing {
                content,
                ..sent.clone()
            },
        };
        match &mut self.next.request {
            Some(request) if Some(request.id) == sent.case => {
                request.message_id = Some(receipt.message_id.clone());
                request.message_at = Some(receipt.at);
                if request.shows != sent.content {
                    let effect = edit(request.shows.clone());
                    self.effects.push(effect);
                }
            }
            _ => {
                let last = over(&sent.content);
                if last != sent.content {
                    self.effects.push(edit(last));
                }
            }
        }
    }

    /// Its message can no longer be replaced: it is sent anew, and only that copy counts.
    pub fn request_not_edited(&mut self, message: &Outgoing) {
        let request = self.next.request.as_ref();
        let shows = request
            .filter(|request| Some(request.id) == message.case)
            .map(|request| request.shows.clone());
        let sent_anew = shows.and_then(|shows| self.request_message(shows));
        self.effects.extend(sent_anew.map(Effect::Send));
    }

    pub fn is_request(&self, id: CaseId) -> bool {
        self.next
            .request
            .as_ref()
            .is_some_and(|request| request.id == id)
    }

    /// What every answer to a request begins with. `Err`: that is the answer already.
    fn request_came(&mut self, inbound: &Inbound) -> Result<Request, Reply> {
        let request = self.next.request.clone();
        let request = request.filter(|request| request.identity == inbound.from);
        let (true, Some(request)) = (self.may_answer(inbound, None), request) else {
            return Err(self.refuse_stranger(None));
        };
        if self.next.has_seen(&inbound.event_id) || !request.is_open() {
            return Err(Reply::AlreadyAnswered);
        }
        self.next.remember_event(&inbound.event_id);
        Ok(request)
    }

    /// A button that carries the id of a request; `None`: it is about a case.
    pub fn request_pressed(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        revision: u32,
        answer: &Answer,
    ) -> Option<Reply> {
        if !self.is_request(id) {
            let stale = revision == REVISION && self.next.cases.get(&id).is_none();
            return stale.then(|| match self.may_answer(inbound, None) {
                true => Reply::NoLongerApplies {
                    why: "That is over. Write “help” to see what you can do.".to_owned(),
                },
                false => self.refuse_stranger(None),
            });
        }
        Some(match self.request_came(inbound) {
            Err(reply) => reply,
            Ok(request) if request.wish == Wish::Practice => {
                self.practice_answered(answer, &Untrusted::default())
            }
            Ok(_) => Reply::NotFound,
        })
    }

    /// A form that carries the id of a request; `None`: it is about a case.
    pub fn request_submitted(
        &mut self,
        inbound: &Inbound,
        id: CaseId,
        explanation: &Untrusted,
        proof: Option<&Proof>,
    ) -> Option<Reply> {
        if !self.is_request(id) {
            return None;
        }
        let proved = self.request_came(inbound).and_then(|request| {
            if self.next.is_locked(self.now()) {
                return Err(refused(LOCKED));
            }
            match request.wish {
                Wish::Practice => self.practice_proved(explanation, proof),
                Wish::Snooze { case, until } => self.lengthen(case, until, explanation, proof),
            }
        });
        Some(proved.map_or_else(|reply| reply, |()| Reply::Taken))
    }
}

/// A missing explanation, before any code counts.
pub fn needs_words() -> Reply {
    refused(EXPLAIN)
}
