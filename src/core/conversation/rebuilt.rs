//! A conversation after a fault: its state is lost or its step panics. Written apart from the step, on
//! purpose, so that what broke it cannot break this: every open case ends `failed` and pages, the
//! poison event counts as taken, and replay protection stays at its strictest.

use std::time::Duration;

use crate::core::alert::{Alert, Severity};
use crate::core::case::{AlertRef, CaseState, CaseView, Evidence, Outcome};
use crate::core::ids::{AggregateKey, CaseId, EmployeeId};
use crate::core::machine::{Context, Guard, Machine, Remains, RowChange, Step};
use crate::core::page::{PageKind, Raise};
use crate::core::policy::DEFAULT_LADDER;
use crate::core::record::{Record, Who};
use crate::core::text::Untrusted;

use super::event::{Event, Reply};
use super::state::Conversation;

/// The lock of somebody whose guard is unreadable.
const UNREADABLE_LOCK: Duration = Duration::from_secs(60 * 60);
/// The step of RFC 6238.
const TOTP_STEP_MS: i64 = 30_000;
const TITLE_CHARS: usize = 150;
const FIELD_BYTES: usize = 4 * 1024;
const ADVICE: &str = "The bot failed on this case; look at the alert yourself. Its log says why.";

pub fn rebuilt(
    key: &AggregateKey,
    guard: Option<Guard>,
    remains: Remains,
    poison: Option<&Event>,
    cx: &Context<'_>,
) -> Step<Conversation> {
    let mut step = Step::to(fresh(key, guard, &remains, cx), Reply::Taken);
    let employee = step.next.employee().cloned();
    for view in remains.open {
        fail(&mut step, view, "the conversation's state was lost", cx);
    }
    match poison {
        Some(Event::AlertsArrived { source, alerts }) => {
            let mut nth = 0;
            for (number, alert) in alerts.iter() {
                let taken = step
                    .next
                    .taken
                    .entry(source.as_str().to_owned())
                    .or_default();
                if *number <= *taken {
                    continue;
                }
                *taken = *number;
                if alert.resolved {
                    continue;
                }
                let view = failed_alert(alert, employee.as_ref(), nth, cx);
                nth += 1;
                let opened = Record::new(cx.now, "case_opened", Who::Source(alert.source.clone()));
                step.records.push(opened.about(view.clone()));
                fail(&mut step, view, "the bot failed on this alert", cx);
            }
        }
        // A lost answer may have been a no: somebody must look, even when no case was open.
        Some(
            event @ (Event::ButtonPressed { .. }
            | Event::TextTyped { .. }
            | Event::FormSubmitted { .. }
            | Event::PushRequested { .. }),
        ) if step.births.is_empty() => {
            let who = key.subject();
            step.births.push(Raise {
                id: CaseId::new(cx.now, cx.entropy, u64::MAX),
                kind: PageKind::Operations,
                round: 1,
                urgency: Severity::High,
                summary: format!("the bot failed on an answer of {who} ({})", event.name()),
                notes: vec![
                    "The answer was lost; it may have been a no. Ask them yourself.".to_owned(),
                ],
                case: None,
                related: Vec::new(),
                ladder: cx.world.policy.ladder(DEFAULT_LADDER).clone(),
                url: cx.world.policy.public_url.clone(),
            });
        }
        _ => {}
    }
    let detail = match poison {
        Some(event) => format!("started anew after a fault on {}", event.name()),
        None => "started anew: its state could not be read".to_owned(),
    };
    step.records.push(Record {
        employee,
        ..Record::new(cx.now, "conversation_rebuilt", Who::Bot).detail(detail)
    });
    step
}

fn fresh(
    key: &AggregateKey,
    guard: Option<Guard>,
    remains: &Remains,
    cx: &Context<'_>,
) -> Conversation {
    let mut state = Conversation::new(key);
    match guard {
        Some(guard) => {
            state.taken = guard.taken;
            state.last_step = guard.last_step;
            state.locked_until = guard.locked_until;
            state.factors = guard.factors.into_iter().collect();
        }
        None => {
            let step = u64::try_from(cx.now.as_millis() / TOTP_STEP_MS).unwrap_or(0);
            state.last_step = Some(step + 1);
            state.locked_until = Some(cx.now.after(UNREADABLE_LOCK));
            state.taken.clone_from(&remains.taken);
            state.factors = remains.factors.iter().cloned().collect();
        }
    }
    state
}

fn failed_alert(
    alert: &Alert,
    employee: Option<&EmployeeId>,
    nth: u64,
    cx: &Context<'_>,
) -> CaseView {
    let id = CaseId::new(cx.now, cx.entropy, nth);
    let alert_ref = AlertRef {
        source: alert.source.clone(),
        id: alert.id.clone(),
        occurred_at: alert.occurred_at,
    };
    let short = |text: &Untrusted| text.clone().bounded(FIELD_BYTES);
    CaseView {
        id,
        reference: id.reference(),
        employee: employee.cloned(),
        principal: alert.principal.clone(),
        rule: alert.rule.clone(),
        title: alert.title.clone(),
        severity: cx
            .world
            .policy
            .for_case(&alert.rule, alert.severity)
            .severity,
        context: alert.context.clone(),
        state: CaseState::Queued,
        outcome: None,
        alerts: vec![alert_ref.clone()],
        count: 1,
        revision: 1,
        snoozed_by: None,
        explanation: None,
        factor: None,
        opened_at: cx.now,
        asked_at: None,
        deadline: None,
        answered_at: None,
        closed_at: None,
        escalation: None,
        evidence: vec![Evidence {
            alert: alert_ref,
            title: short(&alert.title),
            description: short(&alert.description),
            reason: short(&alert.reason),
            url: alert.url.as_ref().map(short),
        }],
    }
}

/// Ends one case as `failed`: record, page, row.
fn fail(step: &mut Step<Conversation>, mut view: CaseView, because: &str, cx: &Context<'_>) {
    view.state = CaseState::Closed;
    view.outcome = Some(Outcome::Failed);
    view.closed_at = Some(cx.now);
    let policy = &cx.world.policy;
    let of_case = policy.for_case(&view.rule, view.severity);
    let who = view
        .employee
        .as_ref()
        .map_or_else(|| view.principal.line(80), ToString::to_string);
    let mut page_view = view.clone();
    page_view.evidence.clear();
    step.withdraw.push(view.id);
    step.records.push(
        Record::new(cx.now, "case_closed", Who::Bot)
            .detail(because)
            .about(view.clone()),
    );
    step.births.push(Raise {
        id: view.id,
        kind: PageKind::Case,
        round: 1,
        urgency: Severity::High,
        summary: format!(
            "{} {} ({who}): {because}",
            view.reference,
            view.title.line(TITLE_CHARS)
        ),
        notes: vec![ADVICE.to_owned()],
        case: Some(Box::new(page_view)),
        related: Vec::new(),
        ladder: policy.ladder(&of_case.ladder).clone(),
        url: format!(
            "{}/cases/{}",
            policy.public_url.trim_end_matches('/'),
            view.id
        ),
    });
    step.rows.extend(view.row().map(RowChange::Put));
}
