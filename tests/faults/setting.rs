//! What a run is set up with, and the config file that says so to the bot.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::slack::Workspace;

pub const NAMES: [&str; 8] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi",
];

/// Signs what goes to pager and sink.
const SECRET: &str = "whsec_aGFybmVzcyBoYXJuZXNzIGhhcm5lc3M=";

/// When each level of the ladder is due that operators are on, and how long their word holds.
pub const LADDER: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(8),
    Duration::from_secs(20),
];
pub const ACK_EXPIRES: Duration = Duration::from_secs(30);

/// Operators who may act; their tokens are made from their names.
pub const RESPONDERS: [&str; 2] = ["sam", "kim"];
/// One who may only look.
pub const VIEWER: &str = "vic";

/// Long enough to be taken for one.
pub fn token_of(operator: &str) -> String {
    format!(
        "{operator}-{operator}-{operator}-{operator}-{operator}-{operator}-{operator}-{operator}"
    )
}

#[derive(Clone, Default)]
pub struct Setting {
    /// The config's store section.
    pub store: String,
    /// Where the data folder really is.
    pub data: Option<PathBuf>,
    /// `None`: people sit at the web chat.
    pub slack: Option<Workspace>,
    /// With a ladder of three levels.
    pub operators: bool,
    /// People also do what they should not.
    pub mischief: bool,
}

impl Setting {
    pub fn of(store: &str) -> Self {
        Self {
            store: store.to_owned(),
            ..Self::default()
        }
    }

    /// Times short enough to be over within a run; who answers what is in the rules' names. `folder` gets
    /// the secrets.
    pub fn config(&self, pager: &str, sink: &str, folder: &Path) -> String {
        let file = |name: &str, value: &str| {
            std::fs::write(folder.join(name), value).expect("a secret is written");
            format!("{{ file = \"{name}\" }}")
        };
        let secret = file("secret", SECRET);
        let store = &self.store;
        let mut text = format!(
            r#"
{store}
[severity.high]
answer_within = "20m"
ceiling = "20m"
snooze = "4h"
[severity.medium]
answer_within = "20m"
ceiling = "24h"
working_hours = false
[[rules]]
match = "quiet*"
severity = "high"
answer_within = "6s"
ceiling = "10m"
[[rules]]
match = "paged*"
mode = "page"
ladder = "loud"
[[rules]]
match = "shadow*"
mode = "shadow"
[[rules]]
match = "*"
severity = "high"
explanation = "optional"
[[sinks]]
name = "siem"
kind = "webhook"
url = "{sink}"
secret = {secret}
[rollups]
hourly = false
daily_at = "never"
sinks = []
"#
        );
        let levels: usize = if self.operators { LADDER.len() } else { 1 };
        for number in 1..=levels {
            let _ = write!(
                text,
                "[[pagers]]\nname = \"hook{number}\"\nkind = \"webhook\"\nurl = \"{pager}\"\nsecret = {secret}\n"
            );
        }
        let channel = self.slack.is_some().then_some("channel");
        text.push_str(&ladder("default", levels, None));
        text.push_str(&ladder("loud", levels, channel));
        if self.operators {
            for (name, role) in RESPONDERS
                .map(|name| (name, "responder"))
                .iter()
                .chain(&[(VIEWER, "viewer")])
            {
                let token = file(&format!("token-{name}"), &token_of(name));
                let _ = write!(
                    text,
                    "[[operators]]\nname = \"{name}\"\ntoken = {token}\nroles = [\"{role}\"]\n"
                );
            }
        }
        if let Some(slack) = &self.slack {
            text.push_str(&slack.config(file));
        }
        for name in NAMES {
            let _ = write!(
                text,
                "[[employees]]\nid = \"{name}\"\nname = \"{name}\"\nemail = \"{name}@example.com\"\ntime_zone = \"UTC\"\n"
            );
        }
        text
    }
}

/// `also` is paged beside the first level's pager.
fn ladder(name: &str, levels: usize, also: Option<&str>) -> String {
    let levels: Vec<String> = LADDER[..levels]
        .iter()
        .enumerate()
        .map(|(n, after)| {
            let also = also.filter(|_| n == 0);
            let also = also.map_or(String::new(), |also| format!(", \"{also}\""));
            format!(
                "{{ after = \"{}s\", pagers = [\"hook{}\"{also}], repeat = \"1h\" }}",
                after.as_secs(),
                n + 1
            )
        })
        .collect();
    format!(
        "[[ladders]]\nname = \"{name}\"\nlevels = [{}]\nack_expires = \"{}s\"\n",
        levels.join(", "),
        ACK_EXPIRES.as_secs()
    )
}
