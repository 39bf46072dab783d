//! What came in and could not be read: listed, and read again once the format or config is mended.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::core::machine::Collection;
use crate::plugins::sources::Quarantined;

use super::Answer;
use crate::http::access::Role;
use crate::http::query::Params;
use crate::http::{Http, act, auth, rows};

pub const FILTERS: [&str; 3] = ["source", "limit", "cursor"];

/// `GET /v1/quarantine`.
pub async fn list(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let fields = params
        .get("source")
        .map(|source| ("source", source.to_owned()));
    let query = params.rows(Collection::Quarantine, fields.into_iter().collect())?;
    let page = rows::list::<Quarantined>(&http, &query).await?;
    let quarantine: Vec<_> = page
        .items
        .iter()
        .map(|one| {
            json!({"id": one.id, "source": one.source, "at": one.at.to_rfc3339(), "error": one.error})
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({"quarantine": quarantine, "next": page.next})))
}

/// `POST /v1/quarantine/{id}/replay`.
pub async fn replay(http: web::Data<Http>, request: HttpRequest, id: web::Path<String>) -> Answer {
    let operator = auth::operator(&http, &request, Role::Admin).await?;
    let alerts = act::replay(&http, &id, &operator).await?;
    Ok(HttpResponse::Ok().json(json!({"id": *id, "alerts": alerts})))
}
