//! The house rules that no compiler checks: who may import whom, that the documents name what exists, and
//! that nothing the README offers has gone. A document that lies is found here, not by a newcomer.
#![allow(clippy::unwrap_used)] // no input from outside

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use securitybot::config::{Config, SourceKind};
use securitybot::plugins::formats::mapping::Mapping;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rust_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Without comments: what they mention is no import.
fn code(path: &str) -> String {
    let text = read(path);
    let lines = text.lines().map(|line| match line.find("//") {
        Some(at) if line[..at].trim().is_empty() || line[..at].ends_with(' ') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// Every path in the use-tree that begins here, braces expanded.
fn expand(text: &str, prefix: &str, found: &mut Vec<String>) -> usize {
    let skip = text.len() - text.trim_start().len();
    let rest = &text[skip..];
    if !rest.starts_with('{') {
        let name = word(rest);
        let path = format!("{prefix}{name}");
        let after = skip + name.len();
        if !name.is_empty() && text[after..].starts_with("::") {
            return after + 2 + expand(&text[after + 2..], &format!("{path}::"), found);
        }
        found.push(path);
        return after;
    }
    let mut at = skip + 1;
    loop {
        at += expand(&text[at..], prefix, found);
        match text[at..].find(|c: char| !c.is_whitespace() && c != '*') {
            Some(next) if text[at + next..].starts_with(',') => at += next + 1,
            Some(next) => return at + next + 1,
            None => return text.len(),
        }
    }
}

/// What a file takes from our own modules, from the crate's root: `plugins::chat::Chat`.
fn imports(path: &str) -> BTreeSet<String> {
    let text = code(path);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        expand(&text[at + "crate::".len()..], "", &mut found);
    }
    // `super::super::x` from two modules deep is `crate::x`.
    let module = path.strip_prefix("src/").unwrap().trim_end_matches(".rs");
    let depth = module.trim_end_matches("/mod").split('/').count();
    let to_root = "super::".repeat(depth);
    for (at, _) in text.match_indices(&to_root) {
        expand(&text[at + to_root.len()..], "", &mut found);
    }
    found.retain(|path| !path.is_empty());
    found.into_iter().collect()
}

/// `plugins::chat::web::WebChat` names one; `plugins::chat::Chat` and the helpers all kinds share do not.
fn concrete(import: &str) -> bool {
    let parts: Vec<&str> = import.split("::").collect();
    match parts[..] {
        ["plugins", _kind, file, _, ..] => file.starts_with(|c: char| c.is_ascii_lowercase()),
        ["store", "sqlite" | "redis" | "memory", ..] => true,
        _ => false,
    }
}

/// DESIGN, section 3: `core` <- {`store`, plugin traits} <- {`actors`, plugin files} <- {`http`, `cli`} <- `app`.
fn may(path: &str, import: &str) -> bool {
    let from = path.strip_prefix("src/").unwrap();
    let to = import.split("::").next().unwrap();
    let is_trait =
        from.starts_with("plugins/") && from.ends_with("/mod.rs") && from.matches('/').count() == 2;
    // The windows at which the fault harness makes a call fail stand around calls of every kind. The module is
    // at the base, and only in builds with the feature `fault-injection`. The core makes no calls.
    if to == "fault" {
        return !from.starts_with("core/");
    }
    match from.split('/').next().unwrap() {
        "fault.rs" => false,
        "core" => to == "core",
        "clock.rs" => to == "core",
        "store" => matches!(to, "core" | "store"),
        "messages" => matches!(to, "core" | "messages"),
        "config" => matches!(to, "core" | "config"),
        "plugins" if is_trait => {
            to == "core" || import == "messages::Rendered" || import == "plugins::Health"
        }
        // The web chat is a whole chat service, with a history to keep.
        "plugins" if from.starts_with("plugins/chat/web/") => {
            matches!(to, "core" | "messages" | "plugins" | "store")
        }
        // Signed requests from Slack count once, across restarts: which have been seen is kept in the store.
        "plugins" if from == "plugins/chat/slack/mod.rs" && import == "store::Store" => true,
        "plugins" => matches!(to, "core" | "messages" | "plugins"),
        "actors" => {
            matches!(to, "core" | "store" | "messages" | "plugins" | "actors") && !concrete(import)
        }
        // The enrolment page is the web chat's page with another form: one style, one kind of link.
        "http" if from == "http/enroll.rs" && import.starts_with("plugins::chat::web::") => true,
        "http" => {
            matches!(to, "core" | "store" | "plugins" | "actors" | "http") && !concrete(import)
        }
        "cli" => matches!(to, "core" | "store" | "plugins" | "config" | "cli") && !concrete(import),
        _ => true, // app, main.rs and lib.rs
    }
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for path in rust_files("src") {
        for import in imports(&path) {
            seen += 1;
            if !may(&path, &import) {
                wrong.push(format!("{path} may not import {import}"));
            }
        }
    }
    assert!(
        seen > 500,
        "only {seen} imports were found: the reader is blind"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_import_reader_sees_through_braces_and_supers() {
    let mut found = Vec::new();
    expand(
        "plugins::{chat::{Chat, web::WebChat}, Health};",
        "",
        &mut found,
    );
    assert_eq!(
        found,
        [
            "plugins::chat::Chat",
            "plugins::chat::web::WebChat",
            "plugins::Health"
        ]
    );
    assert!(!may("src/actors/messenger.rs", &found[1]));
    assert!(!may("src/actors/messenger.rs", "http::Http"));
    assert!(!may("src/core/turn.rs", "store::Store"));
    assert!(!may(
        "src/plugins/chat/mod.rs",
        "plugins::chat::web::WebChat"
    ));
    assert!(may("src/actors/messenger.rs", &found[0]));
}

/// The same state and event give the same step, for ever: nothing in the core may look outside.
#[test]
fn the_core_sees_no_clock_no_randomness_and_no_outside() {
    const REFUSED: [&str; 14] = [
        "HashMap",
        "HashSet",
        "tokio",
        "actix",
        "async",
        "SystemTime",
        "Instant",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "rand",
        "now_v7",
        "reqwest",
    ];
    let mut wrong = Vec::new();
    for path in rust_files("src/core") {
        let text = code(&path);
        for refused in REFUSED {
            let whole = |at: usize| {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                !text[..at].ends_with(is_part) && !text[at + refused.len()..].starts_with(is_part)
            };
            if text.match_indices(refused).any(|(at, _)| whole(at)) {
                wrong.push(format!("{path} uses {refused}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_why_it_exists() {
    let silent: Vec<_> = rust_files("src")
        .into_iter()
        .chain(rust_files("tests"))
        .filter(|path| !read(path).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "without `//!`: {silent:?}");
}

#[test]
fn no_test_is_ignored() {
    let mark = ["#[", "ignore"].concat();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(!read(&path).contains(&mark), "{path} ignores a test");
    }
}

/// Names after `struct` or `enum` that follow a marker, and types that implement `trait_name`.
fn named(text: &str, derived: Option<&str>, trait_name: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("#[derive(") {
        let end = at + text[at..].find(")]").unwrap();
        let list = text[at + "#[derive(".len()..end].split(',').map(str::trim);
        if list.into_iter().any(|name| Some(name) == derived) {
            let rest = &text[end..];
            let kind = ["struct ", "enum "]
                .iter()
                .filter_map(|kind| rest.find(kind).map(|found| (found, kind.len())));
            let (found, len) = kind.min().unwrap();
            names.insert(word(&rest[found + len..]).to_owned());
        }
    }
    let marker = format!(" {trait_name} for ");
    for (at, _) in text.match_indices(&marker) {
        names.insert(word(&text[at + marker.len()..]).to_owned());
    }
    names
}

#[test]
fn actors_md_names_every_actor_and_every_message() {
    let document = read("actors.md");
    let mut actors = BTreeSet::new();
    let mut messages = BTreeSet::new();
    for path in rust_files("src") {
        let text = code(&path);
        actors.extend(named(&text, None, "Actor"));
        if path.starts_with("src/actors/") {
            messages.extend(named(&text, Some("Message"), "Message"));
        }
        // A keeper of one kind of aggregate has a name of its own.
        for (at, _) in text.match_indices("= Keeper<") {
            actors.insert(text[..at].trim_end().rsplit(' ').next().unwrap().to_owned());
        }
    }
    assert!(
        actors.len() > 10 && messages.len() > 15,
        "{actors:?} {messages:?}"
    );
    let missing: Vec<_> = actors
        .union(&messages)
        .filter(|name| {
            !document.contains(&format!("`{name}`")) && !document.contains(&format!("`{name}<"))
        })
        .collect();
    assert!(missing.is_empty(), "actors.md does not name {missing:?}");
}

fn metrics_in_src() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in rust_files("src") {
        let text = code(&path);
        for kind in ["counter!(", "gauge!(", "histogram!("] {
            for (at, _) in text.match_indices(kind) {
                let rest = text[at + kind.len()..].trim_start();
                let name = rest.strip_prefix('"').unwrap_or_else(|| {
                    panic!("{path}: a metric's name must be written where it is used")
                });
                names.insert(word(name).to_owned());
            }
        }
    }
    names
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let readme = read("README.md");
    let listed: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `securitybot_"))
        .map(|rest| format!("securitybot_{}", word(rest)))
        .collect();
    assert_eq!(listed, metrics_in_src());
}

/// Loads a configuration as it would run; every secret it names from the environment is there.
fn load(path: &str, text: String) {
    let mut env = BTreeMap::new();
    for (at, _) in text.match_indices("env = \"") {
        env.insert(
            word(&text[at + 7..]).to_owned(),
            "redis://127.0.0.1/0".to_owned(),
        );
    }
    let config = Config::parse(Path::new(path), text, env.into_iter())
        .unwrap_or_else(|errors| panic!("{path}: {errors}"));
    for source in config.sources {
        if let SourceKind::Jsonl { map, .. } = source.kind {
            Mapping::compile(&map).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}

#[test]
fn every_shipped_and_documented_configuration_is_valid() {
    load("config.toml", read("config.toml"));
    load(
        "deploy/config.production.toml",
        read("deploy/config.production.toml"),
    );
    let readme = read("README.md");
    let blocks: Vec<_> = readme
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(
        blocks.len() >= 5,
        "the README shows its configuration as toml blocks"
    );
    for block in blocks {
        // Names used by the other blocks exist in the file that a reader already has.
        load(&format!("README.md:\n{block}"), block.to_owned());
    }
}

#[test]
fn every_file_the_documents_link_to_exists() {
    for document in ["README.md", "actors.md", "deploy/slack.md"] {
        let folder = root().join(document).parent().unwrap().to_owned();
        for part in read(document).split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{document} links to {target}");
            }
        }
    }
}

/// The table of promises names the tests that hold them; other tables and lists name some more.
#[test]
fn every_test_the_readme_names_exists() {
    let readme = read("README.md");
    let tests: String = rust_files("tests").iter().map(|path| read(path)).collect();
    let mut named = 0;
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    for line in readme.lines().filter(|line| !line.starts_with("```")) {
        let least = if line.starts_with("| P") { 1 } else { 3 };
        for name in line.split('`').skip(1).step_by(2).filter(|name| {
            is_name(name) && name.matches('_').count() >= least && !name.starts_with("securitybot_")
        }) {
            named += 1;
            assert!(
                tests.contains(&format!("fn {name}(")),
                "no test is called {name}"
            );
        }
    }
    assert!(named >= 30, "each promise names a test");
}

#[test]
fn what_a_newcomer_needs_is_there() {
    assert!(read("LICENSE-MIT").contains("Permission is hereby granted"));
    assert!(read("LICENSE-APACHE").contains("Version 2.0, January 2004"));
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(read("README.md").contains("cargo run --release"));
    assert!(read("README.md").contains("bash tests/run.sh"));
    assert!(read(".ci/run").contains("bash tests/run.sh"));
    let unit = read("deploy/securitybot.service");
    for needed in [
        "Type=notify",
        "WatchdogSec=",
        "ExecReload=",
        "Restart=always",
    ] {
        assert!(unit.contains(needed), "the unit has no {needed}");
    }
}

/// A score of 2.0 or better (systemd-analyze takes it times ten).
#[test]
fn the_unit_is_sandboxed() {
    let unit = root().join("deploy/securitybot.service");
    let scored = std::process::Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(unit)
        .output()
        .expect("systemd-analyze is installed (apt: systemd)");
    let said = String::from_utf8_lossy(&scored.stdout);
    assert!(scored.status.success(), "{said}");
}
