//! The hourly and daily figures as the sinks got them, for systems and people that ask instead.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Answer;
use crate::http::access::Role;
use crate::http::query::Params;
use crate::http::rows::{self, RollupRow};
use crate::http::{Http, auth};

pub const FILTERS: [&str; 3] = ["period", "limit", "cursor"];

/// `GET /v1/rollups`.
pub async fn list(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let page = rows::list::<RollupRow>(&http, &rows::rollups(&params)?).await?;
    let rollups: Vec<_> = page.items.into_iter().map(|row| row.rollup).collect();
    Ok(HttpResponse::Ok().json(json!({"rollups": rollups, "next": page.next})))
}
