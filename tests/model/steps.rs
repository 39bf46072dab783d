//! When what can happen, and what becomes of it.

use securitybot::actors::checkpoint::{self, Outbox};
use securitybot::core::alert::{Alert, Severity};
use securitybot::core::conversation::event::Enroller;
use securitybot::core::conversation::{Conversation, Effect as Said, Event, Reply};
use securitybot::core::escalation::{Effect as Paging, Escalation, Event as Raised};
use securitybot::core::ids::{AggregateKey, SourceId};
use securitybot::core::machine::{Context, Machine, Receipt, Settlement};
use securitybot::core::text::Untrusted;
use securitybot::core::time::Timestamp;
use stateright::{Model, Property};

use crate::action::Action;
use crate::judge;
use crate::people;
use crate::phone;
use crate::shell::effect_key;
use crate::state::{Act, Bot, Chat, Does, END, Flight, Kind, PEOPLE, START, State, Stored};
use crate::text::HOSTILE;

pub fn employee(bot: &Bot, who: usize) -> AggregateKey {
    AggregateKey::employee(&PEOPLE[who].into(), bot.world.partitions)
}

impl Bot {
    /// Somebody enrolled, to whom nothing has happened yet.
    fn newcomer(&self, who: usize) -> (AggregateKey, Stored) {
        let key = employee(self, who);
        let enrolled = Event::FactorEnrolled {
            by: Enroller::Operator("sam".into()),
            factor: "totp".to_owned(),
            sealed_seed: "sealed".to_owned(),
        };
        let now = Timestamp::from_millis(START);
        let cx = Context {
            now,
            entropy: 1,
            world: &self.world,
        };
        let step = Conversation::new(&key).step(&enrolled, &cx);
        let bytes = checkpoint::encode(&step.next, &Outbox::<Said>::new());
        let stored = Stored::new(&key, 1, bytes, Vec::new());
        (key, stored)
    }

    fn event_of_alert(&self, nth: usize, accepted_at: i64) -> Event {
        let (source, given) = (SourceId::from("local"), &self.alerts[nth]);
        let alert = Alert {
            source: source.clone(),
            id: nth.to_string().into(),
            principal: Untrusted::from(PEOPLE[given.who]),
            rule: "sudo".into(),
            title: Untrusted::from(HOSTILE),
            description: Untrusted::from(HOSTILE),
            reason: Untrusted::from(HOSTILE),
            severity: Severity::High,
            occurred_at: None,
            url: None,
            context: [("host".to_owned(), Untrusted::from(given.host))]
                .into_iter()
                .collect(),
            accepted_at: Timestamp::from_millis(accepted_at),
            resolved: false,
        };
        Event::AlertsArrived {
            source,
            alerts: [(nth as u64 + 1, alert)].into(),
        }
    }

    fn may(&self, state: &State, kind: Kind) -> bool {
        state.faults > 0 && self.kind == kind
    }

    fn next_due(&self, state: &State) -> Option<i64> {
        let due = state.store.keys().filter_map(|key| state.seen(key).due());
        let awaited = state.flights.iter();
        let awaited = awaited.filter_map(|flight| phone::waits_until(state, flight));
        due.map(Timestamp::as_millis).chain(awaited).min()
    }

    fn deliver(&self, state: &mut State, nth: usize) {
        let event = self.event_of_alert(nth, state.queue[nth].0);
        let key = employee(self, self.alerts[nth].who);
        state.take::<Conversation>(self, &key, &event, None);
        state.queue[nth].1 = true;
    }

    fn act(&self, state: &mut State, act: &Act) {
        if !state.pending.remove(act) {
            state.acts[act.by] -= 1;
        }
        let (key, event) = (employee(self, act.to), people::event(act, state.now));
        let reply = state.take::<Conversation>(self, &key, &event, None);
        if act.does == Does::No && reply == Reply::Taken {
            state.denied.insert(act.case.clone());
        }
        if act.by != act.to && !matches!(reply, Reply::NotYours | Reply::NotFound) {
            let broken = format!("{:?} to somebody else", act.does);
            state.broken.insert(("P5", broken));
        }
    }

    /// The other side takes it; under what id.
    pub fn arrive(&self, state: &mut State, flight: &Flight) {
        let mut taken = String::new();
        let said = match flight.orphan {
            true => serde_json::from_str(&flight.effect).ok(),
            false => state.seen(&flight.from).said(flight.seq).cloned(),
        };
        let paging = state.seen(&flight.from).paging(flight.seq).cloned();
        let paging = match (flight.orphan, paging) {
            (true, _) => serde_json::from_str::<Paging>(&flight.effect).ok(),
            (false, paging) => paging,
        };
        match said {
            Some(Said::Send(message)) => {
                let key = effect_key(&flight.from, flight.seq);
                taken = match self.chat {
                    Chat::Idempotent | Chat::InTheStore => key,
                    Chat::ReadBack => {
                        let copies = state
                            .chat
                            .keys()
                            .filter(|id| id.split('~').next() == Some(&key));
                        format!("{key}~{}", copies.count())
                    }
                };
                let known = state.chat.contains_key(&taken);
                if !known {
                    state.chat.insert(taken.clone(), people::shown(&message));
                }
            }
            Some(Said::Edit {
                message_id,
                message,
                ..
            }) => {
                state
                    .chat
                    .insert(message_id.clone(), people::shown(&message));
                taken = message_id;
            }
            Some(Said::RaiseAgain(raise)) => {
                let key = AggregateKey::escalation(raise.id, flight.from.partition);
                state.take::<Escalation>(self, &key, &Raised::Raised(raise), None);
            }
            Some(Said::StartPush(push)) => taken = phone::arrives(state, push.challenge),
            Some(Said::AwaitPush { .. }) | None => {}
        }
        if let Some(Paging::Page { page, .. }) = paging {
            state.pages.insert(page.key);
        }
        if state.flights.remove(flight) && !flight.orphan {
            state.flights.insert(Flight {
                taken: Some(taken),
                ..flight.clone()
            });
        }
    }

    fn settle(&self, state: &mut State, flight: &Flight, settlement: Settlement) {
        let (key, seq) = (&flight.from, flight.seq);
        let said = state.seen(key).said(seq).cloned();
        let paging = state.seen(key).paging(seq).cloned();
        state.flights.remove(flight);
        if let Some(effect) = said {
            let event = Conversation::settled(effect, settlement);
            state.take::<Conversation>(self, key, &event, Some(seq));
        } else if let Some(effect) = paging {
            let event = Escalation::settled(effect, settlement);
            state.take::<Escalation>(self, key, &event, Some(seq));
        }
    }

    fn wake(&self, state: &mut State, key: &AggregateKey) {
        match key.kind() {
            "escalation" => drop(state.take::<Escalation>(self, key, &Escalation::woken(), None)),
            _ => drop(state.take::<Conversation>(self, key, &Conversation::woken(), None)),
        }
    }

    fn crash(&self, state: &mut State, frozen: bool) {
        let flights = std::mem::take(&mut state.flights);
        for flight in flights {
            let untaken = flight.taken.is_none();
            if flight.orphan {
                state.flights.insert(flight);
            } else if frozen && untaken && phone::waits_until(state, &flight).is_none() {
                let seen = state.seen(&flight.from);
                let said = seen
                    .said(flight.seq)
                    .map(|said| serde_json::to_string(said).unwrap());
                let paging = seen
                    .paging(flight.seq)
                    .map(|page| serde_json::to_string(page).unwrap());
                let effect = said.or(paging).unwrap_or_default();
                state.flights.insert(Flight {
                    orphan: true,
                    effect,
                    ..flight
                });
            }
        }
        state.live.clear();
        state.frozen |= frozen;
    }
}

impl Model for Bot {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: START,
            store: (0..self.people).map(|who| self.newcomer(who)).collect(),
            rows: Default::default(),
            snoozes: Default::default(),
            queue: Vec::new(),
            live: Default::default(),
            flights: Default::default(),
            pending: Default::default(),
            chat: Default::default(),
            pages: Default::default(),
            proved: Default::default(),
            phone: Default::default(),
            denied: Default::default(),
            acts: vec![self.acts; self.people],
            faults: self.faults,
            frozen: false,
            broken: Default::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (losses, deaths) = (self.may(state, Kind::Losses), self.may(state, Kind::Deaths));
        if state.queue.len() < self.alerts.len() {
            actions.push(Action::Accept);
        }
        // In order per receiver.
        for who in 0..self.people {
            let mut waiting =
                (0..state.queue.len()).filter(|n| self.alerts[*n].who == who && !state.queue[*n].1);
            if let Some(nth) = waiting.next() {
                actions.push(Action::Deliver(nth));
                if losses {
                    actions.push(Action::DeliverUnheard(nth));
                }
            }
        }
        for act in people::acts(self, state) {
            actions.push(Action::Do(act.clone()));
            if losses && act.by == act.to {
                actions.push(Action::DoUnheard(act));
            }
        }
        for (challenge, verdict) in phone::answers(state) {
            actions.push(Action::Phone(challenge, verdict));
        }
        let mut is_due = false;
        for key in state.store.keys() {
            let seen = state.seen(key);
            if seen.due().is_some_and(|due| due.as_millis() <= state.now) {
                is_due = true;
                actions.push(Action::Wake(key.clone()));
            } else if !state.live.contains_key(key) && !seen.is_done() {
                actions.push(Action::Load(key.clone()));
            }
        }
        for flight in &state.flights {
            if let Some(until) = phone::waits_until(state, flight) {
                is_due |= until <= state.now;
                if phone::settlement(state, flight).is_some() {
                    actions.push(Action::Settle(flight.clone()));
                }
                if losses {
                    actions.push(Action::Refuse(flight.clone()));
                }
            } else if flight.taken.is_none() {
                actions.push(Action::Arrive(flight.clone()));
                let seen = state.seen(&flight.from);
                let said = seen.said(flight.seq);
                let is_new = matches!(said, Some(Said::Send(_) | Said::StartPush(_)))
                    || seen.paging(flight.seq).is_some();
                // What it has taken under this key it does not refuse later.
                let known = effect_key(&flight.from, flight.seq);
                let is_known = state
                    .chat
                    .keys()
                    .any(|id| id.split('~').next() == Some(&known));
                if losses && is_new && !is_known && !flight.orphan {
                    actions.push(Action::Refuse(flight.clone()));
                }
            } else {
                actions.push(Action::Settle(flight.clone()));
                if losses {
                    actions.push(Action::Forget(flight.clone()));
                }
            }
        }
        let next = self.next_due(state);
        if !is_due && next.is_some_and(|next| next <= END) {
            actions.push(Action::Pass);
        }
        if deaths && !state.live.is_empty() {
            actions.push(Action::Crash);
            if state
                .flights
                .iter()
                .any(|flight| flight.taken.is_none() && !flight.orphan)
            {
                actions.push(Action::Freeze);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        if action.is_fault() {
            state.faults -= 1;
        }
        match action {
            Action::Accept => {
                // A moment later each: what is accepted with a yes is not covered by its snooze.
                state.now += if state.queue.is_empty() { 0 } else { 1_000 };
                state.queue.push((state.now, false));
            }
            Action::Deliver(nth) => self.deliver(&mut state, nth),
            Action::DeliverUnheard(nth) => {
                self.deliver(&mut state, nth);
                state.queue[nth].1 = false;
            }
            Action::Do(act) => self.act(&mut state, &act),
            Action::DoUnheard(act) => {
                self.act(&mut state, &act);
                state.pending.insert(act);
            }
            Action::Phone(challenge, verdict) => {
                let request = state.phone.get_mut(&challenge)?;
                request.answer = Some(verdict.name());
            }
            Action::Wake(key) => self.wake(&mut state, &key),
            Action::Load(key) => state.load(self, &key),
            Action::Arrive(flight) => self.arrive(&mut state, &flight),
            Action::Refuse(flight) => {
                let reason = "refused".to_owned();
                self.settle(&mut state, &flight, Settlement::Impossible { reason });
            }
            Action::Settle(flight) => {
                let receipt = Receipt {
                    message_id: flight.taken.clone().unwrap_or_default(),
                    at: Timestamp::from_millis(state.now),
                    text: String::new(),
                };
                let of_push = phone::settlement(&state, &flight);
                let settlement = of_push.unwrap_or(Settlement::Done(receipt));
                self.settle(&mut state, &flight, settlement);
            }
            Action::Forget(flight) => {
                state.flights.remove(&flight);
                state.start(self, &flight.from, true);
            }
            Action::Pass => state.now = self.next_due(last)?,
            Action::Crash => self.crash(&mut state, false),
            Action::Freeze => self.crash(&mut state, true),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        judge::properties(self)
    }
}

/// Unused codes are numbered by who uses them and when.
pub fn fresh_code(act: &Act) -> Does {
    Does::Code(Some(1_000 + u64::from(act.nth)))
}
