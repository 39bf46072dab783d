//! The configuration that ships runs as it is and states the real defaults; an empty file is enough;
//! the environment overrides what stands in it; secrets stay hidden.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use securitybot::config::{Config, IngestAuth, LogFormat, SinkKind, SourceKind, StoreKind};
use securitybot::core::alert::Severity;
use securitybot::core::employee::Directory;
use securitybot::core::ids::RuleName;
use securitybot::core::policy::default_times;

fn parse(text: &str, env: &[(&str, &str)]) -> Config {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::parse(Path::new("config.toml"), text.to_owned(), env)
        .unwrap_or_else(|errors| panic!("{errors}"))
}

fn shipped() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    Config::load(&path, std::iter::empty()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn the_shipped_file_states_the_defaults() {
    let (shipped, mut default) = (shipped(), parse("", &[]));
    // What a newcomer needs and nobody has by default.
    default.file.clone_from(&shipped.file);
    default.domains.clone_from(&shipped.domains);
    default.employees.clone_from(&shipped.employees);
    default.sinks.clone_from(&shipped.sinks);
    default.rollups.sinks.clone_from(&shipped.rollups.sinks);
    assert_eq!(format!("{shipped:#?}"), format!("{default:#?}"));
    assert!(matches!(&shipped.sinks[..], [sink] if matches!(&sink.kind, SinkKind::Jsonl { .. })));
    for severity in Severity::ALL {
        assert_eq!(shipped.severities[&severity], default_times(severity));
    }
}

fn is_offer(comment: &str) -> bool {
    let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    comment.starts_with('[')
        || comment
            .split_once(" = ")
            .is_some_and(|(key, _)| is_key(key))
}

/// Every line that is commented out is a key that exists.
#[test]
fn what_the_shipped_file_offers_as_comments_is_valid() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).unwrap();
    let offered: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(offer) if is_offer(offer) => format!("{offer}\n"),
            _ => format!("{line}\n"),
        })
        // Redis and SQLite cannot be both; nor a folder that is not there, nor the Slack keys.
        .filter(|line| !line.starts_with("templates") && !line.starts_with("seed_key"))
        .collect();
    let offered = offered
        .replace("kind = \"sqlite\"", "#")
        .replace("kind = \"web\"", "kind = \"slack\" #");
    let secrets = [
        "SLACK_BOT_TOKEN",
        "SLACK_APP_TOKEN",
        "SLACK_SIGNING_SECRET",
        "SAM_TOKEN",
        "INGEST_TOKEN",
        "ALERTMANAGER_TOKEN",
        "PAGER_SECRET",
        "PAGERDUTY_ROUTING_KEY",
        "SINK_SECRET",
        "HEARTBEAT_URL",
        "DUO_IKEY",
        "DUO_SKEY",
        "PAGERDUTY_WEBHOOK_SECRET",
    ]
    .map(|name| (name, "https://secret.example.com"));
    let config = parse(&offered, &secrets);
    assert_eq!(config.pagers.len(), 5);
    assert_eq!(config.sources.len(), 4);
    assert!(matches!(config.store.kind, StoreKind::Redis { .. }));
    let SourceKind::Jsonl { map, .. } = &config.sources[3].kind else {
        panic!("the file comes last")
    };
    assert_eq!(map["context.host"], "hostname");
}

#[test]
fn an_empty_file_is_enough() {
    let config = parse("", &[]);
    assert!(matches!(config.store.kind, StoreKind::Sqlite));
    assert_eq!(config.chat.name(), "web");
    assert!(matches!(
        &config.sources[0].kind,
        SourceKind::Http {
            auth: IngestAuth::Bootstrap
        }
    ));
    assert_eq!(config.ladders[0].levels[0].pagers[0].as_str(), "log");
    assert_eq!(config.server.public_url, "http://127.0.0.1:8080");
}

#[test]
fn the_environment_overrides_by_the_type_of_the_key() {
    let config = parse(
        "[server]\nlisten = \"127.0.0.1:80\"\n[[employees]]\nid = \"alice\"\n",
        &[
            ("SECURITYBOT__SERVER__LISTEN", "0.0.0.0:9000"),
            ("SECURITYBOT__STORE__PARTITIONS", "16"),
            ("SECURITYBOT__LOG__FORMAT", "json"),
            ("SECURITYBOT__ROLLUPS__HOURLY", "false"),
            ("SECURITYBOT__DIRECTORY__DOMAINS", "[\"example.org\"]"),
            ("SECURITYBOT__EMPLOYEES__0__NAME", "1234"),
            ("SECURITYBOT__EMPLOYEES__1__ID", "bob"),
            ("SECURITYBOT__SEVERITY__LOW__ANSWER_WITHIN", "1h30m"),
            ("SECURITYBOT_TOKEN", "not an override"),
        ],
    );
    assert_eq!(config.server.public_url, "http://127.0.0.1:9000");
    assert_eq!(config.store.partitions, 16);
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(!config.rollups.hourly);
    assert_eq!(config.domains, ["example.org"]);
    assert_eq!(config.employees[0].name.as_ref(), "1234");
    assert_eq!(config.employees[1].id.as_str(), "bob");
    assert_eq!(
        config.severities[&Severity::Low].answer_within,
        Duration::from_secs(5400)
    );
}

#[test]
fn secrets_never_show_in_debug() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "from-a-file\n").unwrap();
    let text = format!(
        "[store]\nkind = \"redis\"\nurl = {{ env = \"REDIS\" }}\n[[operators]]\nname = \"sam\"\n\
         token = {{ file = {file:?} }}\nroles = [\"admin\"]\n"
    );
    let config = parse(&text, &[("REDIS", "redis://:from-env@127.0.0.1/")]);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("from-a-file") && !shown.contains("from-env"),
        "{shown}"
    );
    use secrecy::ExposeSecret;
    assert_eq!(config.operators[0].token.expose_secret(), "from-a-file");
}

#[test]
fn the_rules_reach_the_core() {
    let config = parse(
        "[[rules]]\nmatch = \"sudo*\"\nseverity = \"high\"\nsnooze = \"1h\"\n[[employees]]\nid = \"alice\"\naliases = [\"asmith\"]\n",
        &[],
    );
    let directory = Directory::new(config.employees.clone(), "web", &config.domains);
    let world = config.world(directory, BTreeMap::new());
    let policy = world
        .policy
        .for_case(&RuleName::new("sudo-root"), Severity::Low);
    assert_eq!(policy.severity, Severity::High);
    assert_eq!(policy.times.snooze, Duration::from_secs(3600));
    assert_eq!(
        world.directory.resolve("ASMITH").map(|e| e.id.as_str()),
        Some("alice")
    );
    assert_eq!(world.policy.ladder("default").levels.len(), 1);
}

/// Every line taken out, doubled, or given another value: accepted or refused at a line of the file,
/// never a panic, never a fault without words.
#[test]
fn any_single_slip_in_the_file_is_answered_with_a_place() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut refused = 0;
    for (nth, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.starts_with('#'))
    {
        let key = line.split('=').next().unwrap_or_default();
        let slips = [
            String::new(),
            format!("{line}\n{line}"),
            format!("{key}= 7"),
            format!("{key}= \"x\""),
            format!("{key}= [[]]"),
            format!("{key}= {{ a = 1 }}"),
            format!("{key}= true"),
            format!("x{line}"),
            line.replace('"', ""),
        ];
        for slip in slips {
            let mut edited = lines.clone();
            edited[nth] = &slip;
            let edited = edited.join("\n");
            let count = edited.lines().count();
            let parsed = Config::parse(Path::new("c.toml"), edited, std::iter::empty());
            for fault in parsed.err().into_iter().flat_map(|errors| errors.0) {
                refused += 1;
                assert!(!fault.message.is_empty());
                assert!(
                    fault.line.is_some_and(|line| (1..=count).contains(&line)),
                    "{slip}: {fault}"
                );
            }
        }
    }
    assert!(refused > 300, "only {refused} slips were refused");
}
