//! What producers and files hold, and what an operator writes into the config.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use securitybot::config::Config;
use securitybot::core::ids::SourceId;
use securitybot::core::text::Untrusted;
use securitybot::messages::mask_codes;
use securitybot::plugins::formats::alertmanager::{Options, parse_webhook};
use securitybot::plugins::formats::mapping::Mapping;
use securitybot::plugins::formats::native;
use securitybot::plugins::sources::jsonl::JsonlFollower;
use securitybot::plugins::sources::{Incoming, PolledSource};

use crate::engine::{fuzz, survives};

fn source() -> SourceId {
    SourceId::new("local")
}

/// The queue keeps it as JSON, and people see its lines.
fn is_sound(incoming: &Incoming) -> Result<(), String> {
    let alert = &incoming.alert;
    survives(alert)?;
    for text in [
        &alert.principal,
        &alert.title,
        &alert.description,
        &alert.reason,
    ] {
        let line = text.line(80);
        if line.chars().count() > 80 || line.chars().any(char::is_control) {
            return Err(format!("{line:?} is no line"));
        }
    }
    Ok(())
}

#[test]
fn native_alerts() {
    fuzz("native", |bytes| {
        let key = (bytes.len() % 3 == 0).then_some("key-1");
        let read = native::parse(bytes, &source(), key);
        if read != native::parse(bytes, &source(), key) {
            return Err("the same bytes are two things".to_owned());
        }
        read.iter().flatten().flatten().try_for_each(is_sound)
    });
}

#[test]
fn alertmanager_webhooks() {
    fuzz("alertmanager", |bytes| {
        let options = Options::default();
        let read = parse_webhook(bytes, &source(), &options);
        let known = serde_json::from_slice::<serde_json::Value>(bytes).ok();
        let sent = known
            .as_ref()
            .and_then(|body| body["alerts"].as_array())
            .map_or(0, Vec::len);
        let seen = read.alerts.len() + read.own_pages + read.quarantined.len();
        if seen < sent && read.quarantined.is_empty() {
            return Err(format!("{sent} alerts were sent, {seen} are accounted for"));
        }
        // What is quarantined can be replayed, and is the same again (but for bytes that are no text).
        let is_text = std::str::from_utf8(bytes).is_ok();
        for (payload, _) in read.quarantined.iter().filter(|_| is_text) {
            let again = parse_webhook(payload.as_bytes(), &source(), &options);
            if !again.alerts.iter().all(|alert| read.alerts.contains(alert)) {
                return Err("a replay made another alert".to_owned());
            }
        }
        read.alerts.iter().try_for_each(is_sound)
    });
}

/// The first line is the expression for the title, the rest the record.
#[test]
fn mapped_records() {
    fuzz("mapping", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (title, record) = text.split_once('\n').unwrap_or(("title", &text));
        let map: BTreeMap<String, String> = [
            ("principal", "user"),
            ("rule", "rule || 'some'"),
            ("title", title),
            ("severity", "level"),
            ("severity.1-3", "low"),
            ("severity.15", "critical"),
            ("occurred_at", "time"),
            ("url", "url"),
            ("context.host", "host"),
            ("where", "level != `0`"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let Ok(mapping) = Mapping::compile(&map) else {
            return Ok(());
        };
        match mapping.read(record, &source(), "gen:0") {
            Ok(Some(incoming)) => is_sound(&incoming),
            Ok(None) | Err(_) => Ok(()),
        }
    });
}

#[test]
fn followed_files() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let map = [("principal", "user"), ("rule", "rule"), ("title", "title")];
    let map: BTreeMap<String, String> = map.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    fuzz("follower", |bytes| {
        std::fs::write(&path, bytes).unwrap();
        let mapping = Mapping::compile(&map).unwrap();
        let mut follower = JsonlFollower::new(source(), &path, Duration::ZERO, mapping);
        let (mut cursor, mut kept) = (None, 0);
        for _ in 0..10_000 {
            let Ok(read) = runtime.block_on(follower.poll(cursor.as_deref())) else {
                return Ok(());
            };
            read.alerts.iter().try_for_each(is_sound)?;
            kept += read.alerts.len() + read.quarantined.len();
            cursor = Some(read.cursor);
            if !read.more {
                let lines = bytes
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                return match kept <= lines.count() {
                    true => Ok(()),
                    false => Err(format!("{kept} alerts of fewer lines")),
                };
            }
        }
        Err("it reads for ever".to_owned())
    });
}

/// A cursor comes from the store: another's under its name, or half of one, must not end the follower.
#[test]
fn cursors_of_followed_files() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    std::fs::write(
        &path,
        "{\"user\":\"alice\",\"rule\":\"r\",\"title\":\"t\"}\n",
    )
    .unwrap();
    let map = [("principal", "user"), ("rule", "rule"), ("title", "title")];
    let map: BTreeMap<String, String> = map.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    fuzz("cursor", |bytes| {
        let mapping = Mapping::compile(&map).unwrap();
        let mut follower = JsonlFollower::new(source(), &path, Duration::ZERO, mapping);
        let cursor = String::from_utf8_lossy(bytes);
        let _ = runtime.block_on(follower.poll(Some(&cursor)));
        Ok(())
    });
}

#[test]
fn configs() {
    fuzz("config", |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if let Err(errors) = Config::parse(Path::new("config.toml"), text, std::iter::empty()) {
            // Each names its place; none is empty.
            if errors.to_string().trim().is_empty() {
                return Err("an error without words".to_owned());
            }
        }
        Ok(())
    });
}

/// Promise P8: whatever came in, a line is a line, and no code is left in what people typed.
#[test]
fn texts() {
    fuzz("text", |bytes| {
        let text = Untrusted::new(String::from_utf8_lossy(bytes));
        let (line, plain) = (text.line(100), text.plain(1_000));
        if line.chars().any(|c| c.is_control() || c == '\u{202e}') || line.chars().count() > 100 {
            return Err(format!("{line:?} is no line"));
        }
        if plain
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
        {
            return Err(format!("{plain:?} is not plain"));
        }
        let masked = mask_codes(&plain);
        if masked != mask_codes(&masked) {
            return Err(format!("{masked:?} still holds a code"));
        }
        Ok(())
    });
}
