//! A page that proves that pages arrive: it runs up the default ladder like any other.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::actors::messages::{DeliverError, Escalate};
use crate::core::alert::Severity;
use crate::core::escalation::Reply;
use crate::core::ids::CaseId;
use crate::core::page::{PageKind, Raise};
use crate::core::policy::DEFAULT_LADDER;

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::{ACT_WITHIN, Http, auth};

/// `POST /v1/pages/test`.
pub async fn send(http: web::Data<Http>, request: HttpRequest) -> Answer {
    let operator = auth::operator(&http, &request, Role::Admin).await?;
    let world = http.world();
    let ladder = world.policy.ladder(DEFAULT_LADDER).clone();
    let id = CaseId::new(http.now(), rand::random(), 0);
    let reference = id.reference();
    let pagers: Vec<_> = ladder
        .levels
        .iter()
        .flat_map(|l| l.pagers.clone())
        .collect();
    let raise = Raise {
        id,
        kind: PageKind::Test,
        round: 1,
        urgency: Severity::Low,
        summary: format!("{reference}: a test page, asked for by {operator}; please resolve it"),
        notes: vec!["Nothing has happened: this proves that pages arrive.".to_owned()],
        case: None,
        related: Vec::new(),
        ladder,
        url: format!("{}/cases/{id}", http.public_url.trim_end_matches('/')),
    };
    let message = Escalate::raise(raise, http.store.partitions());
    match http.ports.escalations.ask(message, ACT_WITHIN).await? {
        Ok(Reply::Taken) => {
            Ok(HttpResponse::Ok()
                .json(json!({"id": id, "ladder": DEFAULT_LADDER, "pagers": pagers})))
        }
        Ok(Reply::NoLongerApplies { why }) => Err(ApiError::conflict(why)),
        Ok(Reply::NotFound) => Err(ApiError::not_found("escalation")),
        Err(DeliverError::TryAgain(why)) => Err(ApiError::unavailable(why)),
    }
}
