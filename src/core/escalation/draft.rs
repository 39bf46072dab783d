//! A step in the making: the changed life and what it has decided so far. Only here are pages made,
//! so that keys, counters and timers cannot drift apart.

use std::time::Duration;

use crate::core::ids::{OperatorName, PagerName};
use crate::core::machine::{Context, Step};
use crate::core::page::{Page, PageTag, Raise};
use crate::core::record::{Record, Who};
use crate::core::time::Timestamp;

use super::event::{Effect, Reply};
use super::row::EscalationRow;
use super::state::{Begun, Escalation, Fate, Life, Sent, Standing};

/// How soon a ladder is tried again from top to bottom when nobody on its last level could be paged:
/// often enough for the most urgent page, seldom enough for a pager that counts requests.
const NOBODY_REACHED: Duration = Duration::from_secs(5 * 60);

pub(super) struct Draft<'a> {
    pub(super) life: Life,
    pub(super) cx: &'a Context<'a>,
    partition: u16,
    effects: Vec<Effect>,
    records: Vec<Record>,
    withdraw: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(escalation: &Escalation, life: Life, cx: &'a Context<'a>) -> Self {
        Self {
            life,
            cx,
            partition: escalation.partition,
            effects: Vec::new(),
            records: Vec::new(),
            withdraw: false,
        }
    }

    pub(super) fn finish(self, reply: Reply) -> Step<Escalation> {
        let row = EscalationRow::new(&self.life, self.partition).put();
        let withdraw = self.withdraw.then_some(self.life.id);
        let next = Escalation {
            partition: self.partition,
            life: Some(self.life),
        };
        Step {
            effects: self.effects,
            withdraw: withdraw.into_iter().collect(),
            records: self.records,
            rows: vec![row],
            ..Step::to(next, reply)
        }
    }

    pub(super) fn record(&mut self, event: &str, who: Who, detail: impl Into<String>) {
        let mut record = Record::new(self.cx.now, event, who).detail(detail);
        if let Some(case) = self.life.case() {
            record = record.about(case);
        }
        record.case_id = Some(self.life.id);
        self.records.push(record);
    }

    /// Begins the next level now, and those after it for which nobody is left to wait for.
    pub(super) fn begin_next_level(&mut self) {
        loop {
            if self.life.next_level().is_none() {
                return;
            }
            self.life.begun.push(Begun {
                repeat: 0,
                again_at: None,
            });
            self.page_level(self.life.begun.len() - 1);
            if !self.life.has_failed(self.life.level()) {
                return;
            }
        }
    }

    /// Pages everybody of a begun level who is not still being paged, and sets its next time.
    pub(super) fn page_level(&mut self, index: usize) {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let Some(level) = self.life.round().ladder.levels.get(index).cloned() else {
            return;
        };
        let repeat = self.life.begun[index].repeat;
        let mut pagers: Vec<PagerName> = Vec::new();
        for pager in level.pagers {
            if !pagers.contains(&pager) {
                pagers.push(pager);
            }
        }
        for pager in pagers {
            self.page(pager, number, repeat);
        }
        self.life.begun[index].again_at =
            (!level.repeat.is_zero()).then(|| self.cx.now.after(level.repeat));
    }

    /// The same level once more, under the next number.
    pub(super) fn repeat_level(&mut self, index: usize) {
        let begun = &mut self.life.begun[index];
        begun.repeat = begun.repeat.saturating_add(1);
        self.page_level(index);
    }

    fn page(&mut self, pager: PagerName, level: u32, repeat: u32) {
        let round = self.life.round().round;
        let known = self
            .life
            .sent
            .iter()
            .position(|s| s.pager == pager && s.round == round && s.level == level);
        let place = known.unwrap_or_else(|| {
            self.life.sent.push(Sent {
                pager: pager.clone(),
                round,
                level,
                repeat,
                fate: Fate::Withdrawn,
                refresh_at: None,
                over: false,
            });
            self.life.sent.len() - 1
        });
        if self.life.sent[place].fate.is_on_its_way() {
            return;
        }
        self.life.sent[place].repeat = repeat;
        self.emit(place, Fate::Pending);
    }

    /// The same page again, for a pager that forgets it otherwise.
    pub(super) fn refresh(&mut self, place: usize) {
        let again = self.refresh_time(&self.life.sent[place].pager);
        let sent = &mut self.life.sent[place];
        if sent.fate.is_on_its_way() {
            sent.refresh_at = again;
        } else if sent.fate == Fate::Delivered {
            self.emit(place, Fate::Refreshing);
        } else {
            self.emit(place, Fate::Pending);
        }
    }

    fn emit(&mut self, place: usize, fate: Fate) {
        let refresh_at = self.refresh_time(&self.life.sent[place].pager);
        let sent = &mut self.life.sent[place];
        sent.fate = fate;
        sent.refresh_at = refresh_at;
        let pager = sent.pager.clone();
        if let Some(page) = self.page_of(place) {
            self.life.last_page_at = Some(self.cx.now);
            self.effects.push(Effect::Page { pager, page });
        }
    }

    fn refresh_time(&self, pager: &PagerName) -> Option<Timestamp> {
        let every = self.cx.world.policy.pager_refresh.get(pager)?;
        (!every.is_zero()).then(|| self.cx.now.after(*every))
    }

    fn page_of(&self, place: usize) -> Option<Box<Page>> {
        let sent = &self.life.sent[place];
        let raise: &Raise = self.life.raise_of(sent.round)?;
        let mut case = raise.case.clone();
        if let Some(case) = &mut case {
            case.escalation = Some(self.life.view());
        }
        Some(Box::new(Page {
            record_type: PageTag::Page,
            kind: raise.kind,
            key: format!("{}:{}:{}", self.life.id, sent.round, sent.level),
            id: self.life.id,
            level: sent.level,
            round: sent.round,
            repeat: sent.repeat,
            urgency: raise.urgency,
            summary: raise.summary.clone(),
            notes: self.life.notes_of(raise),
            case,
            related: raise.related.clone(),
            url: raise.url.clone(),
        }))
    }

    /// Pages not yet started need not go out any more. One that was started still settles.
    pub(super) fn withdraw_pages(&mut self) {
        self.withdraw = true;
        for sent in &mut self.life.sent {
            match sent.fate {
                Fate::Pending => sent.fate = Fate::Withdrawn,
                Fate::Refreshing => sent.fate = Fate::Delivered,
                Fate::Withdrawn | Fate::Delivered | Fate::Failed => {}
            }
        }
    }

    pub(super) fn tell_acknowledged(&mut self, by: &OperatorName) {
        for place in 0..self.life.sent.len() {
            let pager = self.life.sent[place].pager.clone();
            let by = by.clone();
            if !self.life.sent[place].over
                && let Some(page) = self.page_of(place)
            {
                self.effects.push(Effect::Acknowledge { pager, page, by });
            }
        }
    }

    /// Whoever holds a page shows it as it reads now.
    pub(super) fn tell_changed(&mut self) {
        let acknowledged_by = match &self.life.standing {
            Standing::Acknowledged { by, .. } => Some(by.clone()),
            Standing::Open | Standing::Resolved { .. } => None,
        };
        for place in 0..self.life.sent.len() {
            let pager = self.life.sent[place].pager.clone();
            if !self.life.sent[place].over
                && let Some(page) = self.page_of(place)
            {
                self.effects.push(Effect::Change {
                    pager,
                    page,
                    acknowledged_by: acknowledged_by.clone(),
                });
            }
        }
    }

    pub(super) fn tell_resolved(&mut self, by: &OperatorName, reason: &str) {
        for place in 0..self.life.sent.len() {
            let pager = self.life.sent[place].pager.clone();
            if self.life.sent[place].over {
                continue;
            }
            self.life.sent[place].over = true;
            self.life.sent[place].refresh_at = None;
            if let Some(page) = self.page_of(place) {
                self.effects.push(Effect::Resolve {
                    pager,
                    page,
                    by: by.clone(),
                    reason: reason.to_owned(),
                });
            }
        }
    }

    /// Opens an acknowledgement whose time is over; `true` if it was. The ladder's clock stood still.
    pub(super) fn expire_acknowledgement(&mut self) -> bool {
        let Standing::Acknowledged { by, since, until } = &self.life.standing else {
            return false;
        };
        if self.cx.now < *until {
            return false;
        }
        let detail = format!("{by} acknowledged it and did not resolve it");
        self.life.ladder_from = self.life.ladder_from.after(self.cx.now.since(*since));
        self.life.standing = Standing::Open;
        self.record("acknowledgement_expired", Who::Bot, detail);
        true
    }

    /// When nobody of the last level could be paged: every level again, soon, whatever its repeat.
    pub(super) fn retry_all_soon(&mut self) {
        let soon = self.cx.now.after(NOBODY_REACHED);
        for level in &mut self.life.begun {
            level.again_at = Some(level.again_at.map_or(soon, |at| at.min(soon)));
        }
    }

    /// Whether there is nobody left to go on to.
    pub(super) fn nobody_reached(&self) -> bool {
        self.life.next_level().is_none() && self.life.has_failed(self.life.level())
    }
}
