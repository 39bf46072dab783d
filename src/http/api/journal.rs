//! The journal checked against its hash chain while the service runs, page by page, so that a long
//! journal needs no memory.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::Answer;
use crate::http::access::Role;
use crate::http::error::ApiError;
use crate::http::{Http, auth};
use crate::store::journal::{self, Broken};

/// Records read at a time.
const CHUNK: usize = 1_000;
/// A busy journal is trimmed at its anchor while we read; the partition is then begun again.
const ATTEMPTS: usize = 3;

/// `GET /v1/journal/verify`: 200 with one line per partition; `whole` says whether all hold.
pub async fn verify(http: web::Data<Http>, request: HttpRequest) -> Answer {
    auth::operator(&http, &request, Role::Viewer).await?;
    let mut partitions = Vec::new();
    let mut whole = true;
    for partition in 0..http.store.partitions() {
        let (holds, line) = partition_line(&http, partition).await?;
        whole &= holds;
        partitions.push(line);
    }
    Ok(HttpResponse::Ok().json(json!({"whole": whole, "partitions": partitions})))
}

async fn partition_line(http: &Http, partition: u16) -> Result<(bool, Value), ApiError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match check(http, partition).await? {
            Ok((records, head)) => {
                let line = json!({"partition": partition, "records": records, "head": head, "broken": null});
                return Ok((true, line));
            }
            Err(broken) => last = Some(broken),
        }
    }
    let broken = last.map(|b| json!({"seq": b.seq, "what": b.what}));
    Ok((false, json!({"partition": partition, "broken": broken})))
}

/// Up to the head as it stood at the beginning; what is committed meanwhile is not looked at.
async fn check(http: &Http, partition: u16) -> Result<Result<(u64, String), Broken>, ApiError> {
    let (head, anchor) = http.store.journal_ends(partition).await?;
    let mut end = anchor.clone();
    while end.seq < head.seq {
        let wanted = usize::try_from(head.seq - end.seq)
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let rows = http.store.journal(partition, end.seq, wanted).await?;
        if rows.is_empty() {
            break;
        }
        end = match journal::verify(&end, &rows) {
            Ok(end) => end,
            Err(broken) => return Ok(Err(broken)),
        };
    }
    Ok(journal::is_whole(&end, &head).map(|()| (head.seq - anchor.seq, head.hash)))
}
