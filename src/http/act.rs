//! What operators do, once for API and pages: each act is an event with the operator's name in it, and
//! each answer of the machine is 200, 404 or 409.

use crate::actors::messages::{Deliver, DeliverError, Escalate};
use crate::actors::snooze::EndSnooze;
use crate::core::case::CaseView;
use crate::core::conversation::{self, event::Enroller};
use crate::core::escalation;
use crate::core::ids::{AggregateKey, CaseId, EmployeeId, OperatorName};
use crate::core::machine::{Collection, RowChange};
use crate::core::text::Untrusted;
use crate::plugins::sources::Quarantined;

use super::error::ApiError;
use super::rows::{self, EscalationRow};
use super::{ACT_WITHIN, Http, ingest};

/// A reason or note is read by people; longer belongs into a ticket.
const MAX_TEXT_CHARS: usize = 4_000;
const MAX_NAME_CHARS: usize = 100;

pub async fn acknowledge(http: &Http, id: CaseId, operator: OperatorName) -> Result<(), ApiError> {
    escalate(http, id, escalation::Event::Acknowledged { operator }).await
}

pub async fn resolve(
    http: &Http,
    id: CaseId,
    operator: OperatorName,
    reason: &str,
) -> Result<(), ApiError> {
    let reason = text("reason", reason)?.line(MAX_TEXT_CHARS);
    escalate(http, id, escalation::Event::Resolved { operator, reason }).await
}

/// `to`: a name for people.
pub async fn assign(
    http: &Http,
    id: CaseId,
    operator: OperatorName,
    to: &str,
) -> Result<(), ApiError> {
    let to = text("to", to)?.line(MAX_NAME_CHARS);
    escalate(http, id, escalation::Event::Assigned { operator, to }).await
}

pub async fn close(
    http: &Http,
    id: CaseId,
    operator: OperatorName,
    reason: &str,
) -> Result<(), ApiError> {
    let reason = text("reason", reason)?;
    let case = find_case(http, id).await?;
    let event = conversation::Event::CaseClosed {
        operator,
        case: id,
        reason,
    };
    deliver(http, conversation_of(http, &case), event, "case").await
}

pub async fn note(
    http: &Http,
    id: CaseId,
    operator: OperatorName,
    note: &str,
) -> Result<(), ApiError> {
    let text = text("text", note)?;
    let case = find_case(http, id).await?;
    let event = conversation::Event::NoteAdded {
        operator,
        case: id,
        text,
    };
    deliver(http, conversation_of(http, &case), event, "case").await
}

pub async fn end_snooze(http: &Http, id: &str, operator: OperatorName) -> Result<(), ApiError> {
    let message = EndSnooze {
        snooze: id.to_owned(),
        operator,
    };
    taken(http.end_snooze.ask(message, ACT_WITHIN).await?, "snooze")
}

pub async fn unlock(
    http: &Http,
    employee: &EmployeeId,
    operator: OperatorName,
) -> Result<(), ApiError> {
    let to = AggregateKey::employee(employee, http.store.partitions());
    let event = conversation::Event::Unlocked { operator };
    deliver(http, to, event, "lock").await
}

pub async fn enrolled(
    http: &Http,
    employee: &EmployeeId,
    operator: OperatorName,
    sealed_seed: String,
) -> Result<(), ApiError> {
    let to = AggregateKey::employee(employee, http.store.partitions());
    let event = conversation::Event::FactorEnrolled {
        by: Enroller::Operator(operator),
        factor: http.factor.name().to_owned(),
        sealed_seed,
    };
    deliver(http, to, event, "employee").await
}

/// Reads a quarantined payload again; gone from the list once every alert of it is durable. Answers
/// the ids of the alerts.
pub async fn replay(
    http: &Http,
    id: &str,
    operator: &OperatorName,
) -> Result<Vec<String>, ApiError> {
    let row = http.store.row(Collection::Quarantine, id).await?;
    let row: Quarantined =
        rows::read(&row.ok_or_else(|| ApiError::not_found("quarantined payload"))?)?;
    let access = http.access();
    let source = access.source(&row.source).ok_or_else(|| {
        ApiError::conflict(format!(
            "its source {} is not configured any more",
            row.source
        ))
    })?;
    let still = |error: String| ApiError::conflict(format!("it still cannot be accepted: {error}"));
    let read = ingest::read_webhook(http, source, row.payload.as_bytes());
    if let Some((_, error)) = read.quarantined.into_iter().next() {
        return Err(still(error));
    }
    let alerts = read
        .alerts
        .into_iter()
        .map(|incoming| ingest::allowed(source, incoming))
        .collect::<Result<Vec<_>, _>>()
        .map_err(still)?;
    let accepted = match alerts.is_empty() {
        true => Vec::new(),
        false => {
            ingest::accept(http, source, alerts, Vec::new())
                .await?
                .alerts
        }
    };
    let partition = AggregateKey::source(&source.id, http.store.partitions()).partition;
    let gone = RowChange::Delete {
        collection: Collection::Quarantine,
        id: id.to_owned(),
    };
    http.store.put_rows(partition, &[gone], false).await?;
    tracing::info!(quarantined = id, %operator, source = %source.id, "a quarantined payload was replayed");
    Ok(accepted
        .into_iter()
        .map(|verdict| verdict.id.to_string())
        .collect())
}

/// The conversation that carries a case, whether or not the directory still knows the employee.
fn conversation_of(http: &Http, case: &CaseView) -> AggregateKey {
    let partitions = http.store.partitions();
    match &case.employee {
        Some(employee) => AggregateKey::employee(employee, partitions),
        None => AggregateKey::unknown(&case.principal, partitions),
    }
}

async fn find_case(http: &Http, id: CaseId) -> Result<CaseView, ApiError> {
    rows::case(http, id)
        .await?
        .ok_or_else(|| ApiError::not_found("case"))
}

async fn find_escalation(http: &Http, id: CaseId) -> Result<EscalationRow, ApiError> {
    rows::escalation(http, id)
        .await?
        .ok_or_else(|| ApiError::not_found("escalation"))
}

async fn escalate(http: &Http, id: CaseId, event: escalation::Event) -> Result<(), ApiError> {
    let to = find_escalation(http, id).await?.key();
    let message = Escalate { to, event };
    match http.ports.escalations.ask(message, ACT_WITHIN).await? {
        Ok(escalation::Reply::Taken) => Ok(()),
        Ok(escalation::Reply::NoLongerApplies { why }) => Err(ApiError::conflict(why)),
        Ok(escalation::Reply::NotFound) => Err(ApiError::not_found("escalation")),
        Err(DeliverError::TryAgain(why)) => Err(ApiError::unavailable(why)),
    }
}

async fn deliver(
    http: &Http,
    to: AggregateKey,
    event: conversation::Event,
    what: &str,
) -> Result<(), ApiError> {
    let message = Deliver { to, event };
    taken(
        http.ports.conversations.ask(message, ACT_WITHIN).await?,
        what,
    )
}

fn taken(answer: Result<conversation::Reply, DeliverError>, what: &str) -> Result<(), ApiError> {
    use conversation::Reply;
    match answer {
        Ok(Reply::Taken) => Ok(()),
        Ok(Reply::AlreadyAnswered) => Err(ApiError::conflict("it is answered already")),
        Ok(Reply::NoLongerApplies { why }) => Err(ApiError::conflict(why)),
        Ok(Reply::ProofRefused { message }) => Err(ApiError::conflict(message)),
        Ok(Reply::NotYours | Reply::NotFound) => Err(ApiError::not_found(what)),
        Err(DeliverError::TryAgain(why)) => Err(ApiError::unavailable(why)),
    }
}

/// What a human must have written something into.
fn text(name: &str, given: &str) -> Result<Untrusted, ApiError> {
    let given = given.trim();
    if given.is_empty() || given.chars().count() > MAX_TEXT_CHARS {
        return Err(ApiError::bad_request(format!(
            "{name}: expected 1 to {MAX_TEXT_CHARS} characters"
        )));
    }
    Ok(Untrusted::new(given))
}
