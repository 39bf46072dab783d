//! What there is about one employee, for a page of the chat's that only this person sees. The platform's own user id says
//! whose it is (promise P5); fields that a rule hides from employees stay hidden.

use std::time::Duration;

use async_trait::async_trait;

use crate::core::case::{CaseState, CaseView};
use crate::core::employee::Employee;
use crate::core::ids::{ChatIdentity, RuleName};
use crate::core::machine::Collection;
use crate::core::text::Untrusted;
use crate::plugins::chat::{About, Asked, Quiet, Shelf};

use super::error::ApiError;
use super::rows::{self, SnoozeRow};
use super::{Http, query::MAX_LIMIT};

/// As far back as the page tells.
const SHOWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// More of a person's cases than that are counted no further.
const MOST_CASES: usize = 2_000;
const RULE_CHARS: usize = 80;

#[async_trait]
impl Shelf for Http {
    async fn about(&self, who: &ChatIdentity) -> Result<Option<About>, String> {
        let world = self.world();
        let Some(employee) = world.directory.by_chat(who) else {
            return Ok(None);
        };
        let about = about(self, employee).await;
        about.map(Some).map_err(|error| error.to_string())
    }
}

async fn about(http: &Http, employee: &Employee) -> Result<About, ApiError> {
    let now = http.now();
    let theirs = || vec![("employee", employee.id.to_string())];
    // Open ones may be older than what is told of the others: the longest ceiling is days.
    let since = Some(now.before(2 * SHOWN));
    let (mut cases, _) =
        rows::everything::<CaseView>(http, Collection::Cases, theirs(), since, MOST_CASES).await?;
    // Only what the person was shown: a snoozed, shadowed or paged alert was no question.
    cases.retain(|case| case.asked_at.is_some());
    let open = |case: &&CaseView| matches!(case.state, CaseState::Asked | CaseState::Verifying);
    let over = |case: &&CaseView| {
        case.state == CaseState::Closed && case.asked_at.is_some_and(|at| at >= now.before(SHOWN))
    };
    let (snoozes, _) =
        rows::everything::<SnoozeRow>(http, Collection::Snoozes, theirs(), None, MAX_LIMIT).await?;
    Ok(About {
        time_zone: employee.time_zone.to_string(),
        open: cases.iter().filter(open).map(asked).collect(),
        snoozes: snoozes
            .into_iter()
            .filter(|snooze| snooze.from <= now && now < snooze.until)
            .map(|snooze| quiet(http, snooze))
            .collect(),
        settled: cases.iter().filter(over).map(asked).collect(),
    })
}

fn asked(case: &CaseView) -> Asked {
    Asked {
        reference: case.reference.clone(),
        title: case.title.clone(),
        asked_at: case.asked_at.unwrap_or(case.opened_at),
        deadline: case.deadline,
        outcome: case.outcome,
    }
}

fn quiet(http: &Http, snooze: SnoozeRow) -> Quiet {
    let rule = RuleName::new(snooze.rule.as_str());
    let policy = http.world().policy.for_case(&rule, snooze.severity);
    Quiet {
        rule: Untrusted::new(snooze.rule).line(RULE_CHARS),
        context: policy.shown(snooze.context.iter()),
        until: snooze.until,
    }
}
