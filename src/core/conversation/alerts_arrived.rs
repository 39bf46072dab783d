//! Alerts arrived from an intake: each is taken once by its number, then folded into the open question
//! it belongs to, or opens a case that is asked, paged, snoozed or shadowed. Every branch ends in a
//! case: an alert that is in none would be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::alert::Alert;
use crate::core::case::Outcome;
use crate::core::context::ContextKey;
use crate::core::ids::{CaseId, SourceId};
use crate::core::machine::RowChange;
use crate::core::policy::CasePolicy;
use crate::core::record::{Record, Who};
use crate::core::routing::{Facts, Route, route};
use crate::core::text::Untrusted;

use super::effect::Ended;
use super::event::Reply;
use super::open_case::{Case, Phase};
use super::pages::{End, case_notes, case_raise, urgency};
use super::turn::Turn;

impl Turn<'_> {
    pub fn alerts_arrived(&mut self, source: &SourceId, alerts: &[(u64, Alert)]) -> Reply {
        // Cases that end at once take all alike alerts of one delivery.
        let mut ended: Vec<(Case, Outcome)> = Vec::new();
        // One record and one edit per case and delivery, however many alerts it brings.
        let mut folded: BTreeMap<CaseId, u64> = BTreeMap::new();
        for (number, alert) in alerts {
            let last = self
                .next
                .taken
                .entry(source.as_str().to_owned())
                .or_default();
            if *number <= *last {
                continue;
            }
            *last = *number;
            if alert.resolved {
                self.alert_over(alert);
                continue;
            }
            let policy = self.cx.world.policy.for_case(&alert.rule, alert.severity);
            let key = ContextKey::new(&alert.rule, &policy.context_keys, &alert.context);
            match self.route(alert, &key, &policy) {
                Route::Ask => {
                    if let Some(id) = self.fold_or_open(alert, key, policy) {
                        *folded.entry(id).or_default() += 1;
                    }
                }
                Route::Snoozed(by) => self.suppress(alert, key, policy, by),
                Route::End(outcome) => {
                    let alike = ended.iter_mut().find(|(case, o)| {
                        *o == outcome && case.key == key && case.severity() == policy.severity
                    });
                    match alike {
                        Some((case, _)) => case.fold(alert),
                        None => {
                            let case = Case::open(self.new_id(), alert, key, policy, self.now());
                            ended.push((case, outcome));
                        }
                    }
                }
            }
        }
        for (id, more) in folded {
            self.told_of_fold(id, more, source);
        }
        for (case, outcome) in ended {
            self.end_unasked(case, outcome, None);
        }
        Reply::Taken
    }

    fn route(&self, alert: &Alert, key: &ContextKey, policy: &CasePolicy) -> Route {
        let now = self.now();
        let snooze = self
            .next
            .snoozes
            .iter()
            .find(|s| s.covers(key, policy.severity, alert.accepted_at, now))
            .map(|s| s.case);
        route(Facts {
            mode: policy.mode,
            // Acceptance fixed the receiver: an employee who has left since is unreachable, not unknown.
            known: self.next.employee().is_some(),
            opted_out: self.person().is_some_and(|person| person.opted_out),
            snooze,
        })
    }

    /// The open case that it was folded into; `None`: it opened one of its own.
    fn fold_or_open(
        &mut self,
        alert: &Alert,
        key: ContextKey,
        policy: Arc<CasePolicy>,
    ) -> Option<CaseId> {
        let alike = self
            .next
            .cases
            .values()
            .filter(|case| case.is_open() && case.phase != Phase::Verifying && !case.folding_over)
            .find(|case| {
                case.rule == alert.rule && case.key == key && case.severity() == policy.severity
            })
            .map(|case| case.id);
        if let Some(case) = alike.and_then(|id| self.next.cases.get_mut(&id)) {
            case.fold(alert);
            return Some(case.id);
        }
        let who = Who::Source(alert.source.clone());
        let mut case = Case::open(self.new_id(), alert, key, policy, self.now());
        case.identity = self.identity();
        self.next.opened += 1;
        case.order = self.next.opened;
        let id = case.id;
        self.next.cases.insert(case);
        self.record(
            id,
            "case_opened",
            who,
            format!("alert {}", shown(&alert.id)),
        );
        self.touched.insert(id);
        None
    }

    fn told_of_fold(&mut self, id: CaseId, more: u64, source: &SourceId) {
        let count = self.next.cases.get(&id).map_or(0, |case| case.count);
        let detail = format!("{more} folded in, now {count}");
        self.record(id, "alert_folded", Who::Source(source.clone()), detail);
        self.touched.insert(id);
        self.refresh(id);
    }

    /// Each suppressed alert is a closed case of its own, and is counted at its snooze.
    fn suppress(&mut self, alert: &Alert, key: ContextKey, policy: Arc<CasePolicy>, by: CaseId) {
        let case = Case::open(self.new_id(), alert, key, policy, self.now());
        let employee = self.next.employee().cloned();
        if let (Some(snooze), Some(employee)) = (
            self.next.snoozes.iter_mut().find(|s| s.case == by),
            employee,
        ) {
            snooze.count(case.id);
            self.rows.extend(snooze.row(&employee));
        }
        self.end_unasked(case, Outcome::Snoozed, Some(by));
    }

    /// A case nobody is asked about: opened and closed in one commit, and not kept in the state.
    fn end_unasked(&mut self, mut case: Case, outcome: Outcome, snoozed_by: Option<CaseId>) {
        let now = self.now();
        let opened = case.view(self.next.employee(), snoozed_by);
        let sources = opened.alerts.first().map(|alert| alert.source.clone());
        let who = sources.map_or(Who::Bot, Who::Source);
        let paged = urgency(outcome, case.severity());
        case.phase = Phase::Closed;
        case.ended = Some(Ended {
            outcome,
            explanation: None,
            at: now,
            snoozed_until: None,
            not_me_until: None,
            closed_by: None,
            revoked: false,
            paged,
        });
        let view = case.view(self.next.employee(), snoozed_by);
        let detail = self.why_unasked(&case, outcome, snoozed_by);
        self.records
            .push(Record::new(now, "case_opened", who).about(opened));
        let event = match outcome {
            Outcome::Snoozed => "alert_snoozed",
            _ => "case_closed",
        };
        self.records.push(
            Record::new(now, event, Who::Bot)
                .detail(detail.clone())
                .about(view.clone()),
        );
        if outcome == Outcome::Snoozed {
            self.records.push(
                Record::new(now, "case_closed", Who::Bot)
                    .detail(detail.clone())
                    .about(view.clone()),
            );
        }
        self.rows.extend(view.row().map(RowChange::New));
        if let Some(urgency) = paged {
            self.births.push(case_raise(
                &view,
                1,
                urgency,
                &detail,
                case_notes(&case, outcome),
                Vec::new(),
                &case.policy.ladder,
                &self.cx.world.policy,
            ));
        }
    }

    fn why_unasked(&self, case: &Case, outcome: Outcome, snoozed_by: Option<CaseId>) -> String {
        match outcome {
            Outcome::Shadow => {
                let who = self.next.employee().map_or_else(
                    || format!("nobody ({} is unknown)", case.principal.line(80)),
                    ToString::to_string,
                );
                let title = case.title.line(super::pages::TITLE_CHARS);
                format!("rule in shadow: {who} would have been asked about {title:?}")
            }
            Outcome::Paged => "the rule pages without asking".to_owned(),
            Outcome::UnknownEmployee => {
                format!("no employee goes by {}", case.principal.line(80))
            }
            Outcome::OptedOut => "the employee is not asked (opted out)".to_owned(),
            Outcome::Snoozed => format!(
                "covered by the verified yes of {}",
                snoozed_by.map(|id| id.reference()).unwrap_or_default()
            ),
            other => other.name().to_owned(),
        }
    }

    /// The producer says it is over: noted; only a rule that says so withdraws its question.
    fn alert_over(&mut self, alert: &Alert) {
        let policy = self.cx.world.policy.for_case(&alert.rule, alert.severity);
        let key = ContextKey::new(&alert.rule, &policy.context_keys, &alert.context);
        let named = self
            .next
            .cases
            .values()
            .filter(|case| case.is_open())
            .find(|case| {
                case.alerts
                    .iter()
                    .any(|a| a.source == alert.source && a.id == alert.id)
            });
        let alike = || {
            self.next
                .cases
                .values()
                .filter(|case| case.is_open())
                .find(|case| case.rule == alert.rule && case.key == key)
        };
        let who = Who::Source(alert.source.clone());
        let detail = format!("alert {} is over", shown(&alert.id));
        let Some(id) = named.or_else(alike).map(|case| case.id) else {
            self.record_person("alert_resolved", who, detail);
            return;
        };
        let mut withdrawn = false;
        if let Some(case) = self.next.cases.get_mut(&id) {
            case.over += 1;
            withdrawn = case.policy.withdraw_on_resolve
                && case.over >= case.count
                && case.phase != Phase::Verifying;
        }
        self.record(id, "alert_resolved", who, detail);
        if withdrawn {
            let end = End::because(
                Outcome::Closed,
                "withdrawn: all its alerts are over, and the rule says withdraw_on_resolve",
            );
            self.end(id, end);
        }
    }
}

/// An alert's id comes from its producer: it is no more to be trusted than its title.
fn shown(id: &str) -> String {
    Untrusted::from(id).line(100)
}
