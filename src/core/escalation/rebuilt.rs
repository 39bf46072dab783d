//! An escalation whose checkpoint cannot be read, or whose step panicked: whom it had paged, and for
//! what, is lost, and silence would be the worst guess. A fixed page goes to everybody of the default
//! ladder and is repeated until an operator resolves it. Shares no code with `step`.
//!
//! Round 0 stands for "unknown": every later raise is a newer round, and its page keys are new to the
//! pagers. Its first repeat is the time in seconds, so that a second rebuilding is not taken for a
//! redelivery of the first.

use std::time::Duration;

use crate::core::alert::Severity;
use crate::core::ids::{AggregateKey, CaseId, PagerName};
use crate::core::machine::{Context, Step};
use crate::core::page::{Page, PageKind, PageTag, Raise};
use crate::core::policy::{DEFAULT_LADDER, Ladder, Level};
use crate::core::record::{Record, Who};

use super::event::{Effect, Reply};
use super::row::EscalationRow;
use super::state::{Begun, Escalation, Fate, Life, Round, Sent, Standing};

const REPEAT: Duration = Duration::from_secs(15 * 60);
const ACK_EXPIRES: Duration = Duration::from_secs(4 * 60 * 60);

pub(super) fn step(key: &AggregateKey, cx: &Context<'_>) -> Step<Escalation> {
    let id = CaseId::parse(key.subject()).unwrap_or_else(|| CaseId::new(cx.now, cx.entropy, 0));
    let pagers = everybody(cx);
    let repeat = u32::try_from(cx.now.as_millis() / 1000).unwrap_or(0);
    let raise = Raise {
        id,
        kind: PageKind::Operations,
        round: 0,
        urgency: Severity::High,
        summary: format!(
            "{}: the state of this escalation was lost, please look at the case",
            id.reference()
        ),
        notes: vec![
            "securitybot could not read or continue this escalation. Whoever acknowledged it, and how far it had been paged, is unknown. Look at the case, then resolve this with a reason.".to_owned(),
        ],
        case: None,
        related: vec![id],
        ladder: Ladder {
            name: DEFAULT_LADDER.to_owned(),
            levels: vec![Level {
                after: Duration::ZERO,
                pagers: pagers.clone(),
                repeat: REPEAT,
            }],
            ack_expires: ACK_EXPIRES,
        },
        url: format!("{}/cases/{id}", cx.world.policy.public_url),
    };
    let page = Page {
        record_type: PageTag::Page,
        kind: raise.kind,
        key: format!("{id}:0:1"),
        id,
        level: 1,
        round: 0,
        repeat,
        urgency: raise.urgency,
        summary: raise.summary.clone(),
        notes: raise.notes.clone(),
        case: None,
        related: raise.related.clone(),
        url: raise.url.clone(),
    };
    let refresh = &cx.world.policy.pager_refresh;
    let sent = |pager: &PagerName| Sent {
        pager: pager.clone(),
        round: 0,
        level: 1,
        repeat,
        fate: Fate::Pending,
        refresh_at: refresh.get(pager).map(|every| cx.now.after(*every)),
        over: false,
    };
    let life = Life {
        id,
        opened_at: cx.now,
        standing: Standing::Open,
        begun: vec![Begun {
            repeat,
            again_at: Some(cx.now.after(REPEAT)),
        }],
        ladder_from: cx.now,
        sent: pagers.iter().map(sent).collect(),
        last_page_at: Some(cx.now),
        assigned: None,
        rounds: vec![Round { raise }],
    };
    let mut record = Record::new(cx.now, "escalation_rebuilt", Who::Bot)
        .detail("its state could not be read; everybody on the default ladder is paged");
    record.case_id = Some(id);
    let row = EscalationRow::new(&life, key.partition).put();
    let next = Escalation {
        partition: key.partition,
        life: Some(life),
    };
    let effects = pagers.into_iter().map(|pager| Effect::Page {
        pager,
        page: Box::new(page.clone()),
    });
    Step {
        effects: effects.collect(),
        records: vec![record],
        rows: vec![row],
        ..Step::to(next, Reply::Taken)
    }
}

/// Every pager of the default ladder; of all ladders should it have none.
fn everybody(cx: &Context<'_>) -> Vec<PagerName> {
    let ladders = &cx.world.policy.ladders;
    let of = |ladder: &Ladder| -> Vec<PagerName> {
        let pagers = ladder.levels.iter().flat_map(|level| level.pagers.clone());
        pagers.collect()
    };
    let mut pagers = ladders.get(DEFAULT_LADDER).map(of).unwrap_or_default();
    if pagers.is_empty() {
        pagers = ladders.values().flat_map(of).collect();
    }
    pagers.sort();
    pagers.dedup();
    pagers
}
