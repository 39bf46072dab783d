//! Pages of one outcome and one rule within a minute are often one event: a later one names the earlier ones.
//! For the reader's eyes only, from memory: none is left out, and each keeps its own escalation, key and
//! acknowledgement. After a restart the first ones name nobody, and a page goes out without names rather
//! than wait for this actor.

use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, Message, MessageResult};

use crate::core::case::Outcome;
use crate::core::ids::{CaseId, RuleName};
use crate::core::page::{Page, PageKind};
use crate::core::text::Untrusted;
use crate::core::time::Timestamp;

use super::messages::Stop;

/// How far back a page names others.
const WITHIN: Duration = Duration::from_secs(60);
/// A page that is tried again within this time says the same as the first time; an older one is no news.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Beyond it the oldest are forgotten: in such a flood a list of names helps nobody.
const MOST: usize = 5_000;
const NAMED: usize = 20;
const NAME_CHARS: usize = 60;

/// Give this page back as it goes out.
#[derive(Debug, Message)]
#[rtype(result = "Page")]
pub struct Join {
    pub page: Page,
    pub now: Timestamp,
}

#[derive(Default)]
pub struct Joined {
    /// In the order in which they were first paged.
    lately: Vec<Paged>,
}

impl Actor for Joined {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // One entry per page under way.
        ctx.set_mailbox_capacity(16_384);
    }
}

impl Handler<Join> for Joined {
    type Result = MessageResult<Join>;

    fn handle(&mut self, Join { page, now }: Join, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_others(page, now))
    }
}

impl Handler<Stop> for Joined {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Clone, Debug)]
struct Paged {
    /// When its case ended.
    at: Timestamp,
    id: CaseId,
    round: u32,
    outcome: Outcome,
    rule: RuleName,
    who: String,
}

impl Joined {
    /// The page as it goes out: with those of the minute before it, if there were any.
    fn with_others(&mut self, mut page: Page, now: Timestamp) -> Page {
        let others = self.others(&page, now);
        if others.is_empty() {
            return page;
        }
        let named = others.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|other| format!("{} ({})", other.id.reference(), other.who))
            .collect();
        let more = match others.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let line = format!("Also within the last 60 s: {}{more}", named.join(", "));
        page.notes.push(line);
        for other in others {
            if !page.related.contains(&other.id) {
                page.related.push(other.id);
            }
        }
        page
    }

    /// The first page of a round is remembered; what follows it (repeats, refreshes, higher levels) is no news.
    fn others(&mut self, page: &Page, now: Timestamp) -> Vec<Paged> {
        let (PageKind::Case, 1, 0, Some(case)) =
            (page.kind, page.level, page.repeat, page.case.as_deref())
        else {
            return Vec::new();
        };
        let (Some(outcome), Some(at)) = (case.outcome, case.closed_at) else {
            return Vec::new();
        };
        if now.since(at) >= REMEMBERED {
            return Vec::new();
        }
        let lately = &mut self.lately;
        lately.retain(|paged| now.since(paged.at) < REMEMBERED);
        let known = lately
            .iter()
            .position(|paged| paged.id == page.id && paged.round == page.round);
        let place = known.unwrap_or_else(|| {
            let surplus = (lately.len() + 1).saturating_sub(MOST);
            lately.drain(..surplus);
            lately.push(Paged {
                at,
                id: page.id,
                round: page.round,
                outcome,
                rule: case.rule.clone(),
                who: match &case.employee {
                    Some(employee) => Untrusted::new(employee.as_str()).line(NAME_CHARS),
                    None => format!("unknown {}", case.principal.line(NAME_CHARS)),
                },
            });
            lately.len() - 1
        });
        let own = &lately[place];
        let alike = |other: &&Paged| {
            other.outcome == own.outcome
                && other.rule == own.rule
                && other.id != own.id
                && own.at.since(other.at).max(other.at.since(own.at)) <= WITHIN
        };
        lately[..place].iter().filter(alike).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOON: Timestamp = Timestamp::from_millis(1_795_518_000_000);

    fn page(nth: u64, seconds: u64, who: &str, rule: &str, outcome: &str) -> Page {
        let id = CaseId::new(NOON, 7, nth);
        let case = json!({
            "id": id, "reference": id.reference(), "employee": who, "principal": who, "rule": rule, "title": "t",
            "severity": "medium", "context": {}, "state": "closed", "outcome": outcome, "alerts": [], "count": 1,
            "revision": 1, "snoozed_by": null, "explanation": null, "factor": null,
            "opened_at": NOON.to_rfc3339(), "asked_at": null, "deadline": null, "answered_at": null,
            "closed_at": after(seconds).to_rfc3339(), "escalation": null,
        });
        let page = json!({
            "type": "page", "kind": "case", "key": format!("{id}:1:1"), "id": id, "level": 1, "round": 1, "repeat": 0,
            "urgency": "high", "summary": "", "notes": [], "case": case, "related": [], "url": "",
        });
        serde_json::from_value(page).expect("a page")
    }

    fn after(seconds: u64) -> Timestamp {
        NOON.after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_page_names_those_of_the_minute_before_it_and_stays_itself() {
        let mut joined = Joined::default();
        let alice = page(1, 0, "alice", "sudo", "denied");
        let bob = page(2, 30, "bob", "sudo", "denied");
        let carol = page(3, 60, "carol", "sudo", "denied");
        assert_eq!(
            joined.with_others(alice.clone(), after(0)),
            alice,
            "the first"
        );
        joined.with_others(bob.clone(), after(30));
        let shown = joined.with_others(carol.clone(), after(60));
        let (a, b) = (alice.id.reference(), bob.id.reference());
        assert_eq!(
            shown.notes,
            [format!("Also within the last 60 s: {a} (alice), {b} (bob)")]
        );
        assert_eq!(shown.related, [alice.id, bob.id]);
        let itself = Page {
            notes: Vec::new(),
            related: Vec::new(),
            ..shown.clone()
        };
        assert_eq!(itself, carol, "key, level and all else are its own");
        // A retry says the same, whatever has come since.
        joined.with_others(page(4, 70, "dave", "sudo", "denied"), after(70));
        assert_eq!(joined.with_others(carol.clone(), after(90)), shown);
    }

    #[test]
    fn what_is_older_of_another_rule_another_outcome_or_no_news_is_not_joined() {
        let mut joined = Joined::default();
        let alice = page(1, 0, "alice", "sudo", "denied");
        joined.with_others(alice.clone(), after(0));
        for (seconds, rule, outcome) in [
            (61, "sudo", "denied"),
            (10, "nmap", "denied"),
            (10, "sudo", "no_answer"),
        ] {
            let other = page(10 + seconds, seconds, "bob", rule, outcome);
            assert_eq!(joined.with_others(other.clone(), after(seconds)), other);
        }
        let repeat = Page {
            repeat: 1,
            ..page(3, 20, "carol", "sudo", "denied")
        };
        assert_eq!(joined.with_others(repeat.clone(), after(20)), repeat);
        // A refresh of an old page, hours later, is named by none that is new.
        joined.with_others(alice.clone(), after(7200));
        let new = page(4, 7200, "dave", "sudo", "denied");
        assert_eq!(joined.with_others(new.clone(), after(7201)), new);
    }
}
