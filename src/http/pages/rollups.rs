//! What was asked, proved and kept quiet, hour by hour and day by day: for whoever tunes the rules and
//! for whoever must answer why nobody was asked.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use serde_json::Value;

use super::view::{self, Moment};
use super::{Frame, enter, error_page, render};
use crate::core::case::Outcome;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::http::error::ApiError;
use crate::http::query::Params;
use crate::http::rows::{self, RollupRow};
use crate::http::{Http, session::Session};

pub const FILTERS: [&str; 2] = ["period", "cursor"];
/// Outcomes with a column of their own; the rest is *other*.
const SHOWN: [Outcome; 4] = [
    Outcome::Verified,
    Outcome::Denied,
    Outcome::NoAnswer,
    Outcome::Snoozed,
];

#[derive(Template)]
#[template(path = "operator/rollups.html")]
struct RollupsPage {
    frame: Frame,
    rollups: Vec<RollupCard>,
    period: &'static str,
    is_older: bool,
    older: Option<String>,
}

struct RollupCard {
    period: String,
    from: Moment,
    to: Moment,
    rules: Vec<RuleLine>,
    suppressed: Vec<Suppressed>,
}

struct RuleLine {
    rule: String,
    asked: u64,
    verified: u64,
    denied: u64,
    no_answer: u64,
    other: u64,
    /// `2 unsure, 1 failed`; empty: none.
    others: String,
    snoozed: u64,
    median: String,
    p95: String,
}

struct Suppressed {
    rule: String,
    alerts: Vec<String>,
    /// Counted but not listed.
    more: u64,
}

/// `GET /rollups`.
pub async fn show(http: web::Data<Http>, request: HttpRequest) -> HttpResponse {
    let session = match enter(&http, &request).await {
        Ok(session) => session,
        Err(elsewhere) => return elsewhere,
    };
    match page(&http, &request, &session).await {
        Ok(page) => render(StatusCode::OK, &page),
        Err(error) => error_page(&session, &error, "/rollups"),
    }
}

async fn page(
    http: &Http,
    request: &HttpRequest,
    session: &Session,
) -> Result<RollupsPage, ApiError> {
    let params = Params::parse(request.query_string(), &FILTERS)?;
    let page = rows::list::<RollupRow>(http, &rows::rollups(&params)?).await?;
    let wanted = params.get("period");
    let period = rows::PERIODS
        .into_iter()
        .find(|period| Some(*period) == wanted)
        .unwrap_or_default();
    let older = page.next.map(|next| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("period", period);
        query.append_pair("cursor", &next);
        format!("/rollups?{}", query.finish())
    });
    let now = http.now();
    Ok(RollupsPage {
        frame: Frame::new("Rollups", "/rollups", session),
        rollups: page
            .items
            .iter()
            .map(|row| card(&row.rollup, now))
            .collect(),
        period,
        is_older: params.get("cursor").is_some(),
        older,
    })
}

fn card(rollup: &Value, now: Timestamp) -> RollupCard {
    let moment = |name: &str| {
        let at = rollup[name].as_str().and_then(Timestamp::parse_rfc3339);
        view::moment(at.unwrap_or_default(), now)
    };
    let rules = rollup["rules"].as_array().map_or(&[][..], Vec::as_slice);
    RollupCard {
        period: match rollup["period"].as_str() {
            Some("day") => "Day".to_owned(),
            _ => "Hour".to_owned(),
        },
        from: moment("from"),
        to: moment("to"),
        rules: rules.iter().map(rule_line).collect(),
        suppressed: rules.iter().filter_map(suppressed).collect(),
    }
}

fn name(rule: &Value) -> String {
    Untrusted::new(rule["rule"].as_str().unwrap_or_default()).line(80)
}

fn count(rule: &Value, outcome: Outcome) -> u64 {
    rule[outcome.name()].as_u64().unwrap_or(0)
}

fn rule_line(rule: &Value) -> RuleLine {
    let others: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| !SHOWN.contains(outcome) && count(rule, *outcome) > 0)
        .map(|outcome| (count(rule, outcome), view::outcome(outcome).word))
        .collect();
    RuleLine {
        rule: name(rule),
        asked: rule["asked"].as_u64().unwrap_or(0),
        verified: count(rule, Outcome::Verified),
        denied: count(rule, Outcome::Denied),
        no_answer: count(rule, Outcome::NoAnswer),
        other: others.iter().map(|(count, _)| count).sum(),
        others: others
            .iter()
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>()
            .join(", "),
        snoozed: count(rule, Outcome::Snoozed),
        median: took(&rule["median_answer_s"]),
        p95: took(&rule["p95_answer_s"]),
    }
}

fn suppressed(rule: &Value) -> Option<Suppressed> {
    let alerts: Vec<_> = rule["suppressed"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str)
        .map(|id| Untrusted::new(id).line(120))
        .collect();
    let listed = u64::try_from(alerts.len()).unwrap_or(u64::MAX);
    (!alerts.is_empty()).then(|| Suppressed {
        rule: name(rule),
        more: count(rule, Outcome::Snoozed).saturating_sub(listed),
        alerts,
    })
}

/// A time to answer; nobody answered: a dash.
fn took(seconds: &Value) -> String {
    match seconds.as_u64() {
        None => "–".to_owned(),
        Some(s @ 0..120) => format!("{s} s"),
        Some(s @ 120..7_200) => format!("{} min", s / 60),
        Some(s) => format!("{} h {} min", s / 3_600, s / 60 % 60),
    }
}
