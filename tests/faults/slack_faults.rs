//! What goes wrong with Slack: it asks to wait, refuses, hangs, cuts the line before or after it has taken a call,
//! does not know our token any more, ends its sockets, delivers twice or in the wrong order.

use crate::common::fake_slack::state::{ANY, Delivery};
use crate::common::fake_slack::{FakeSlack, Mode};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SlackFault {
    /// Each call asks for so many seconds.
    Storm(&'static str, u64),
    Trouble(u16),
    /// `{"ok": false}` with a word of Slack's own trouble.
    Said(&'static str),
    Hang(&'static str),
    CutBefore(&'static str),
    CutAfter(&'static str),
    /// Our token is not good any more.
    TokenRefused,
    /// Every socket announces its end.
    LastWords,
    /// Every socket ends without a word.
    Dropped,
    Twice,
    WrongOrder,
}

pub const ON_SLACK: [SlackFault; 18] = [
    SlackFault::Storm(ANY, 3),
    SlackFault::Storm("chat.postMessage", 4),
    SlackFault::Storm("chat.update", 2),
    SlackFault::Storm("conversations.history", 3),
    SlackFault::Storm("views.open", 3),
    SlackFault::Trouble(503),
    SlackFault::Said("internal_error"),
    SlackFault::Hang("chat.postMessage"),
    SlackFault::Hang(ANY),
    SlackFault::CutBefore("chat.postMessage"),
    SlackFault::CutBefore(ANY),
    SlackFault::CutAfter("chat.postMessage"),
    SlackFault::CutAfter(ANY),
    SlackFault::TokenRefused,
    SlackFault::LastWords,
    SlackFault::Dropped,
    SlackFault::Twice,
    SlackFault::WrongOrder,
];

/// What `readyz` must say while the token is refused.
pub const REFUSED: &str = "invalid_auth";

impl SlackFault {
    pub fn begin(self, slack: &FakeSlack) {
        let always = |method: &str, mode| slack.mode(method, mode, usize::MAX);
        match self {
            Self::Storm(method, seconds) => always(method, Mode::RateLimited(seconds)),
            Self::Trouble(status) => always(ANY, Mode::Status(status)),
            Self::Said(word) => always(ANY, Mode::Refused(word.to_owned())),
            Self::TokenRefused => always(ANY, Mode::Refused(REFUSED.to_owned())),
            Self::Hang(method) => always(method, Mode::Hang),
            Self::CutBefore(method) => always(method, Mode::CutBeforeApplying),
            Self::CutAfter(method) => always(method, Mode::CutAfterApplying),
            Self::LastWords => slack.announce_disconnect("refresh_requested"),
            Self::Dropped => slack.drop_connections(),
            Self::Twice => slack.state().delivery = Delivery::Twice,
            Self::WrongOrder => slack.state().delivery = Delivery::Held,
        }
    }

    pub fn end(self, slack: &FakeSlack) {
        let mut state = slack.state();
        state.modes.clear();
        state.let_go();
    }
}
