//! The bot as a guest: who asks to wait is left alone, and a chat's limits are kept without being told. What it knew
//! of both dies with its process: after a restart it may have to be told once more.

use std::collections::BTreeMap;

use super::super::history::What;
use super::view::View;

/// A clock's rounding of whole seconds.
const MANNERS_US: u64 = 900_000;
/// One message a second to a channel.
const CHANNEL_US: u64 = 1_000_000;
/// Two channels refused within this time: it is the workspace that is limited.
const STORM_US: u64 = 5_000_000;
/// What was on its way to Slack when it refused another one, and a machine that others use too.
const ON_ITS_WAY_US: u64 = 1_000_000;

pub fn waits_when_asked(view: &View<'_>) -> Vec<String> {
    let mut wrong = receivers(view);
    wrong.extend(waits(view));
    wrong.extend(one_a_second(view));
    wrong
}

fn receivers(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut until: BTreeMap<&str, u64> = BTreeMap::new();
    for event in view.events {
        match &event.what {
            What::AskedToWait { id, seconds } => {
                until.insert(id, event.t + seconds * 1_000_000);
            }
            What::Page { id, .. } | What::Record { id, .. } => {
                if let Some(until) = until.remove(id.as_str())
                    && event.t + MANNERS_US < until
                {
                    wrong.push(format!(
                        "{id} came {} ms before it was asked to",
                        (until - event.t) / 1000
                    ));
                }
            }
            _ => {}
        }
    }
    wrong
}

/// A silence that was asked for.
#[derive(Clone, Copy)]
struct Silence {
    asked: u64,
    until: u64,
}

impl Silence {
    /// A call comes in it that was not on its way yet when it was asked for.
    fn is_broken_at(self, t: u64) -> bool {
        t > self.asked + ON_ITS_WAY_US && t < self.until
    }
}

/// A `Retry-After` of the chat holds for its method, of a message for its channel; of messages to two channels for all.
fn waits(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut silent: BTreeMap<String, Silence> = BTreeMap::new();
    let mut last_refused: Option<(&str, u64)> = None;
    let mut all: Option<Silence> = None;
    for event in view.events {
        let What::ChatCalled {
            method,
            channel,
            wait_s,
            ..
        } = &event.what
        else {
            continue;
        };
        let channel = channel.as_deref().filter(|_| method == "chat.postMessage");
        let of = channel.map_or_else(
            || method.clone(),
            |channel| format!("{method} in {channel}"),
        );
        let stands = |silence: &Silence| {
            event.t < silence.until && !view.slept_between(silence.asked, event.t)
        };
        let own = silent.get(&of).copied().filter(stands);
        let everybodys = all.filter(stands);
        if let Some(silence) = own.filter(|silence| silence.is_broken_at(event.t)) {
            let early = (silence.until - event.t) / 1000;
            wrong.push(format!("{of} came {early} ms before it was asked to"));
        }
        let direct = channel.filter(|channel| is_direct(channel));
        if direct.is_some() && everybodys.is_some_and(|silence| silence.is_broken_at(event.t)) {
            wrong.push(format!(
                "{of} came although two other channels had been refused"
            ));
        }
        let Some(wait) = wait_s else {
            continue;
        };
        // Refused again within a silence: it began with the first word of it.
        let until = event.t + wait * 1_000_000;
        let grown = |silence: Option<Silence>| Silence {
            asked: silence.map_or(event.t, |silence| silence.asked),
            until: silence.map_or(until, |silence| silence.until.max(until)),
        };
        silent.insert(of, grown(own));
        if let Some(channel) = direct {
            let storm =
                last_refused.is_some_and(|(other, at)| other != channel && event.t - at < STORM_US);
            if storm {
                all = Some(grown(everybodys));
            }
            last_refused = Some((channel, event.t));
        }
    }
    wrong
}

/// Not a channel of the security team, whose pages wait behind nobody.
fn is_direct(channel: &str) -> bool {
    channel.starts_with('D')
}

fn one_a_second(view: &View<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for event in view.events {
        let What::ChatCalled {
            method,
            channel: Some(channel),
            ..
        } = &event.what
        else {
            continue;
        };
        if method != "chat.postMessage" {
            continue;
        }
        if let Some(before) = last.insert(channel, event.t)
            && event.t - before < CHANNEL_US
            && !view.restarted_between(before, event.t)
        {
            let gap = (event.t - before) / 1000;
            wrong.push(format!("{channel} got two messages within {gap} ms"));
        }
    }
    wrong
}
