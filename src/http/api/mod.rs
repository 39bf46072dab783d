//! The JSON API of CONTRACT, one file per resource. Each handler asks who it is first, then does one
//! thing; acts are shared with the pages in `http/act.rs`.

pub mod cases;
pub mod employees;
pub mod escalations;
pub mod explain;
pub mod journal;
pub mod quarantine;
pub mod rollups;
pub mod snoozes;
pub mod test_page;

use actix_web::HttpResponse;

use super::error::ApiError;

type Answer = Result<HttpResponse, ApiError>;
