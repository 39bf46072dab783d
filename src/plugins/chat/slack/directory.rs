//! Everybody in the workspace. Only whole lists are handed on: half a list would make people unknown.

use std::time::Duration;

use serde_json::Value;

use crate::core::text::Untrusted;
use crate::plugins::chat::Person;

use super::Slack;
use super::api::{ApiError, Arguments};
use super::inbound::identity;
use super::pace::Limit;

/// Slack recommends at most 200, takes 1000; tier 2 allows 20 calls a minute.
const PAGE: usize = 500;
const TIER_2_MS: u64 = 3_000;
const TIER_2_BURST: u32 = 10;
/// 100,000 people.
const MOST_PAGES: usize = 200;
/// How often a page is asked for before the list is given up until next time.
const ATTEMPTS: u32 = 5;
const NAME_CHARS: usize = 80;

impl Slack {
    pub(super) async fn users(&self) -> Result<Vec<Person>, ApiError> {
        let mut people = Vec::new();
        let mut cursor = String::new();
        for _ in 0..MOST_PAGES {
            let page = self.page(&cursor).await?;
            let members = page["members"].as_array();
            people.extend(members.into_iter().flatten().filter_map(person));
            cursor = page["response_metadata"]["next_cursor"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if cursor.is_empty() {
                return Ok(people);
            }
        }
        Err(ApiError::Said("too many users".to_owned()))
    }

    async fn page(&self, cursor: &str) -> Result<Value, ApiError> {
        let mut attempt = 1;
        loop {
            let mut form = vec![
                ("limit", PAGE.to_string()),
                ("include_locale", "true".to_owned()),
            ];
            if !cursor.is_empty() {
                form.push(("cursor", cursor.to_owned()));
            }
            let limits = [Limit::new("users.list", TIER_2_MS, TIER_2_BURST)];
            let page = self
                .api
                .call("users.list", Arguments::Form(form), &limits)
                .await;
            let wait = match page {
                Ok(page) => return Ok(page),
                Err(ApiError::RateLimited(wait)) if attempt < ATTEMPTS => wait,
                Err(ApiError::Unclear(_) | ApiError::NotSent(_)) if attempt < ATTEMPTS => {
                    Duration::from_secs(1) * attempt
                }
                Err(error) => return Err(error),
            };
            attempt += 1;
            tokio::time::sleep(wait).await;
        }
    }
}

/// Guests are people too. Bots, people who left, and people of other companies are not ours to ask.
fn person(member: &Value) -> Option<Person> {
    let is = |flag: &str| member[flag].as_bool().unwrap_or(false);
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    if is("deleted") || is("is_bot") || is("is_stranger") || is("is_workflow_bot") {
        return None;
    }
    let (team, user) = (text(&member["team_id"])?, text(&member["id"])?);
    if user == "USLACKBOT" {
        return None;
    }
    let profile = &member["profile"];
    let name = [&profile["real_name"], &member["real_name"], &member["name"]];
    let name = name.into_iter().find_map(text).unwrap_or_default();
    let zone = text(&member["tz"]).filter(|zone| jiff::tz::TimeZone::get(zone).is_ok());
    Some(Person {
        user: identity(&team, &user)?.user,
        name: Untrusted::new(name).line(NAME_CHARS),
        email: text(&profile["email"]),
        time_zone: zone,
        locale: text(&member["locale"]),
    })
}
