//! Our fake Slack would prove nothing if it were kinder than Slack: the vendor's own client (slack_sdk) speaks to it here,
//! and finds what it expects.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack};
use serde_json::Value;

const SETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slack_sdk/setup.sh");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/slack_sdk/client.py");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/slack-sdk/bin/python");

#[test]
fn the_vendors_own_client_takes_the_fake_for_slack() {
    let set_up = Command::new(SETUP).status().unwrap();
    assert!(
        set_up.success(),
        "{SETUP} failed: it needs python3-venv and PyPI"
    );
    let fake = FakeSlack::start();
    fake.add_user("UALICE", "Alice", "alice@example.com");
    fake.add_user("UBOB", "Bob", "bob@example.com");
    let mut client = Command::new(PYTHON)
        .args([CLIENT, &fake.api_url(), BOT_TOKEN, APP_TOKEN])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "listening");

    let typed = fake.say("UALICE", "hello there");
    assert_eq!(fake.acknowledged(&typed), Value::Null);
    let trigger = fake.state().trigger("UALICE");
    let payload = serde_json::json!({ "type": "block_actions", "trigger_id": trigger });
    let click = fake.envelope("interactive", payload);
    let answer = fake.acknowledged(&click);
    assert_eq!(answer["response_action"], "errors");
    assert_eq!(answer["errors"]["code"], fake.form(0)["id"]);

    assert_eq!(said.next().unwrap().unwrap(), "done");
    assert!(client.wait().unwrap().success());
}
