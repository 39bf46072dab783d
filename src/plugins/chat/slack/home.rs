//! The Home tab: what is open about me, what I am not asked again, what was asked lately. It is made when somebody opens
//! it, and anew for those who have opened it when a message of theirs changes; several changes at once are one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::core::case::Outcome;
use crate::core::ids::ChatIdentity;
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;
use crate::messages::Zone;
use crate::plugins::chat::{About, Asked, Quiet};

use super::Slack;
use super::api::Arguments;
use super::blocks::plain;
use super::pace::Limit;
use super::text::{CONTEXT, HEADER, SECTION};

/// Tier 4: 100 calls a minute.
const TIER_4_MS: u64 = 650;
const TIER_4_BURST: u32 = 20;
/// One person who opens it again and again.
const PER_PERSON_MS: u64 = 1_000;
/// Changes within this time are shown together.
const TOGETHER: Duration = Duration::from_secs(2);
/// People whose page is kept fresh; the others see it fresh when they open it.
const MOST: usize = 1_000;
/// Of each list; Slack takes 100 blocks.
const MOST_LISTED: usize = 25;
const TITLE_CHARS: usize = 150;
const VALUE_CHARS: usize = 80;

const STRANGER: &str = "Hello! I don't know who you are yet. Please tell your security team that securitybot cannot place you.";
const HELLO: &str = "Now and then our monitoring notices something done under your name, and I ask you about it in a direct message. Only you see this page.";

/// Who has opened their page since the start, and whose is out of date.
#[derive(Default)]
pub(super) struct Homes {
    opened: Mutex<BTreeMap<String, (ChatIdentity, bool)>>,
    changed: Notify,
}

impl Homes {
    fn opened(&self, user: &str, who: &ChatIdentity) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.len() >= MOST {
            opened.pop_first();
        }
        opened.insert(user.to_owned(), (who.clone(), false));
    }

    /// Something about this user is new.
    pub fn touch(&self, user: &str) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stale)) = opened.get_mut(user) {
            *stale = true;
            self.changed.notify_one();
        }
    }

    fn take_stale(&self) -> Vec<ChatIdentity> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = opened.values_mut().filter(|(_, stale)| *stale);
        stale
            .map(|(who, stale)| {
                *stale = false;
                who.clone()
            })
            .collect()
    }
}

/// Makes pages anew until the chat is closed.
pub(super) fn keep(slack: &Arc<Slack>) {
    let slack = slack.clone();
    tokio::spawn(async move {
        let mut closing = slack.closing.subscribe();
        let fresh = async {
            loop {
                slack.homes.changed.notified().await;
                tokio::time::sleep(TOGETHER).await;
                for who in slack.homes.take_stale() {
                    slack.publish_home(&who).await;
                }
            }
        };
        tokio::select! {
            () = fresh => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    });
}

impl Slack {
    pub(super) async fn home_opened(&self, user: &str, who: &ChatIdentity) {
        self.homes.opened(user, who);
        self.publish_home(who).await;
    }

    /// Nothing hangs on it: what fails is shown the next time the page is opened.
    async fn publish_home(&self, who: &ChatIdentity) {
        let (Some(shelf), Some((_, user))) = (self.shelf.get(), who.user.split_once('/')) else {
            return;
        };
        let view = match shelf.about(who).await {
            Ok(about) => home(about.as_ref(), self.now()),
            Err(why) => {
                tracing::warn!(why, "a Home tab could not be made");
                return;
            }
        };
        let limits = [
            Limit::new(format!("home/{user}"), PER_PERSON_MS, 1),
            Limit::new("views.publish", TIER_4_MS, TIER_4_BURST),
        ];
        let arguments = Arguments::Json(json!({ "user_id": user, "view": view }));
        if let Err(error) = self.api.call("views.publish", arguments, &limits).await {
            tracing::info!(why = error.text(), "a Home tab could not be shown");
        }
    }
}

/// The view of `views.publish`; `None`: a stranger's.
fn home(about: Option<&About>, now: Timestamp) -> Value {
    let Some(about) = about else {
        return json!({ "type": "home", "blocks": [section(STRANGER)] });
    };
    let zone = Zone::named(&about.time_zone);
    let mut blocks = vec![section(HELLO)];
    list(
        &mut blocks,
        "Waiting for your answer",
        "Nothing. All good!",
        about.open.iter().map(|asked| open(asked, &zone, now)),
    );
    list(
        &mut blocks,
        "Confirmed by you, not asked again for now",
        "Nothing.",
        about.snoozes.iter().map(|quiet| snooze(quiet, &zone, now)),
    );
    list(
        &mut blocks,
        "Asked in the last 30 days",
        "Nothing.",
        about.settled.iter().map(|asked| settled(asked, &zone)),
    );
    let made = format!("As of {} ({}).", zone.moment(now), zone.label);
    blocks.push(json!({ "type": "context", "elements": [plain(&made, CONTEXT)] }));
    json!({ "type": "home", "blocks": blocks })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain(text, SECTION) })
}

fn list(
    blocks: &mut Vec<Value>,
    heading: &str,
    nothing: &str,
    items: impl ExactSizeIterator<Item = String>,
) {
    blocks.push(json!({ "type": "header", "text": plain(heading, HEADER) }));
    let more = items.len().saturating_sub(MOST_LISTED);
    if items.len() == 0 {
        blocks.push(section(nothing));
    }
    blocks.extend(items.take(MOST_LISTED).map(|item| section(&item)));
    if more > 0 {
        blocks.push(section(&format!("… and {more} more")));
    }
}

fn open(asked: &Asked, zone: &Zone, now: Timestamp) -> String {
    let by = match asked.deadline {
        Some(deadline) => format!(", please answer by {}", zone.near(deadline, now)),
        None => String::new(),
    };
    let asked_at = zone.moment(asked.asked_at);
    format!("{}\nAsked {asked_at}{by}", titled(asked))
}

fn settled(asked: &Asked, zone: &Zone) -> String {
    let what = asked.outcome.map_or("", outcome);
    let asked_at = zone.moment(asked.asked_at);
    format!("{}\nAsked {asked_at}. {what}", titled(asked))
}

fn titled(asked: &Asked) -> String {
    format!("{}: {}", asked.reference, asked.title.line(TITLE_CHARS))
}

fn snooze(quiet: &Quiet, zone: &Zone, now: Timestamp) -> String {
    let context = quiet.context.iter();
    let context: Vec<String> = context
        .map(|(name, value)| {
            let name = Untrusted::from(name.as_str()).line(VALUE_CHARS);
            format!("{name} {}", value.line(VALUE_CHARS))
        })
        .collect();
    let place = match context.is_empty() {
        true => String::new(),
        false => format!(", {}", context.join(", ")),
    };
    let until = zone.near(quiet.until, now);
    format!("{}{place}\nUntil {until}", quiet.rule)
}

/// In a few words of the person's own.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Verified => "You confirmed that it was you.",
        Outcome::Denied => "You said it wasn't you.",
        Outcome::Unsure => "You weren't sure.",
        Outcome::NoAnswer => "No answer came in time.",
        Outcome::VerificationFailed | Outcome::Unverifiable => {
            "You said yes, and the security team checks it."
        }
        Outcome::Closed => "The security team closed it.",
        _ => "The security team has it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(nth: usize) -> Asked {
        Asked {
            reference: format!("K{nth:04}"),
            title: "<!channel> <https://evil.example|click> \u{202e}\u{200b}"
                .repeat(40)
                .as_str()
                .into(),
            asked_at: Timestamp::from_millis(1_795_514_520_000),
            deadline: Some(Timestamp::from_millis(1_795_521_720_000)),
            outcome: Some(Outcome::Verified),
        }
    }

    #[test]
    fn a_page_of_hostile_titles_is_short_and_means_nothing() {
        let quiet = Quiet {
            rule: "sudo".to_owned(),
            context: vec![("<@U1>".to_owned(), "&".repeat(500).as_str().into())],
            until: Timestamp::from_millis(1_795_521_720_000),
        };
        let about = About {
            time_zone: "Europe/Berlin".to_owned(),
            open: (0..300).map(asked).collect(),
            snoozes: vec![quiet; 300],
            settled: (0..300).map(asked).collect(),
        };
        let view = home(Some(&about), Timestamp::from_millis(1_795_514_520_000));
        let blocks = view["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 100, "{} blocks", blocks.len());
        let all = view.to_string();
        assert!(!all.contains('<') && !all.contains('>') && !all.contains("mrkdwn"));
        assert!(!all.contains('\u{202e}') && !all.contains('\u{200b}'));
        assert!(all.contains("… and 275 more"));
        for block in blocks {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            assert!(text.encode_utf16().count() <= SECTION);
        }
    }
}
