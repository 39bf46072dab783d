//! What nobody should send or leave behind, to the real binary: it is refused by its right name, the
//! bot goes on, and nothing of it reaches the log raw.
#![allow(clippy::unwrap_used)] // the fakes in common

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::bot::{Bot, PATIENCE, PEOPLE};
use common::redis::RedisServer;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Stands in what must stay out of the log.
const SECRET: &str = "hunter2-in-the-evidence";

async fn send(bot: &Bot, body: Vec<u8>, token: &str) -> (StatusCode, Value) {
    let client = securitybot::plugins::http_client();
    let answer = client
        .post(format!("{}/v1/alerts", bot.url()))
        .bearer_auth(token)
        .header("Content-Type", "application/json")
        .timeout(PATIENCE)
        .body(body)
        .send()
        .await
        .expect("an answer, whatever was sent");
    let status = answer.status();
    (status, answer.json().await.unwrap_or(Value::Null))
}

/// A fresh alert is taken and asked about.
async fn still_works(bot: &Bot, after: &str, id: &str) {
    let alert =
        json!({"id": id, "principal": "bob", "rule": id, "title": format!("after {after}")});
    bot.post("/v1/alerts", alert).await;
    bot.case_until(&format!("alert={id}"), after, |_| true)
        .await;
}

fn is_clean(log: &str) {
    let raw = log
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(raw, None, "the log holds a raw control character");
    assert!(!log.contains(SECRET), "the log holds an alert's text");
}

#[tokio::test]
async fn requests_that_cannot_be_taken_are_named_and_change_nothing() {
    let bot = Bot::start(PEOPLE).await;
    let alert = |more: Value| {
        let mut alert = json!({"principal": "alice", "rule": "sudo", "title": SECRET});
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            alert[name] = value;
        }
        alert.to_string().into_bytes()
    };
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let deep_context = format!(
        r#"{{"principal":"alice","rule":"sudo","title":"x","context":{}1{}}}"#,
        r#"{"a":"#.repeat(100_000),
        "}".repeat(100_000)
    );
    let no_principal = json!({"rule": "sudo", "title": "x"})
        .to_string()
        .into_bytes();
    // what, body, status, what the answer names
    let bad: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", Vec::new(), 400, ""),
        ("cut JSON", b"{\"principal\": \"ali".to_vec(), 400, ""),
        ("no JSON", b"<xml/>".to_vec(), 400, ""),
        ("bytes", vec![0, 159, 146, 150, 0xff], 400, ""),
        ("deep lists", deep, 400, ""),
        ("deep objects", deep_context.into_bytes(), 400, ""),
        ("10 MiB", vec![b' '; 10 * 1024 * 1024], 413, ""),
        ("a number", b"42".to_vec(), 400, "number"),
        ("null", b"null".to_vec(), 400, "null"),
        ("no principal", no_principal, 422, "principal"),
        (
            "empty principal",
            alert(json!({"principal": ""})),
            422,
            "principal",
        ),
        (
            "a list for a title",
            alert(json!({"title": ["x"]})),
            422,
            "title",
        ),
        (
            "a number for a rule",
            alert(json!({"rule": 7})),
            422,
            "rule",
        ),
        (
            "a word for a context",
            alert(json!({"context": "web-3"})),
            422,
            "context",
        ),
        (
            "an unknown severity",
            alert(json!({"severity": "panic"})),
            422,
            "severity",
        ),
        (
            "an unknown field",
            alert(json!({"titel": "x"})),
            422,
            "titel",
        ),
        (
            "no time",
            alert(json!({"occurred_at": "yesterday"})),
            422,
            "occurred_at",
        ),
        (
            "no such year",
            alert(json!({"occurred_at": "99999-01-01T00:00:00Z"})),
            422,
            "occurred_at",
        ),
    ];
    let token = bot.token();
    for (nth, (what, body, expected, named)) in bad.into_iter().enumerate() {
        let (status, answer) = send(&bot, body, &token).await;
        assert_eq!(status.as_u16(), expected, "{what}: {answer}");
        let said = answer.to_string();
        assert!(said.contains(named), "{what} is not named: {said}");
        assert!(
            said.len() < 2_000,
            "{what}: an answer of {} bytes",
            said.len()
        );
        still_works(&bot, what, &format!("after-{nth}")).await;
    }
    let good = alert(json!({}));
    for wrong in ["", "x", "Bearer", &"a".repeat(5_000)] {
        let (status, _) = send(&bot, good.clone(), wrong).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    assert!(
        bot.cases("employee=alice").await.is_empty(),
        "nothing was taken"
    );
    is_clean(&bot.log());
}

#[tokio::test]
async fn strange_but_valid_alerts_are_asked_about_and_harm_nobody() {
    let bot = Bot::start(PEOPLE).await;
    let alice = common::person::Person::sign_in(&bot, "alice").await;
    let evil =
        format!("start\u{0}\u{1b}[31m\u{202e}\r\nERROR {SECRET}<img src=x onerror=alert(1)>");
    let mut taken = Vec::new();
    for (id, more) in [
        (
            "control",
            json!({"title": evil, "reason": evil, "context": {"host": evil}}),
        ),
        ("long", json!({"title": "x".repeat(1_000_000)})),
        (
            "future",
            json!({"title": "far", "occurred_at": "9999-12-31T23:59:59Z"}),
        ),
        (
            "past",
            json!({"title": "old", "occurred_at": "0001-01-01T00:00:00Z"}),
        ),
    ] {
        let mut alert = json!({"id": id, "principal": "alice", "rule": id, "severity": "high"});
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            alert[name] = value;
        }
        let (status, answer) = send(&bot, alert.to_string().into_bytes(), &bot.token()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{id}: {answer}");
        let filter = format!("alert={id}");
        let asked = bot.case_until(&filter, id, |c| c["state"] == "asked");
        taken.push(asked.await);
    }
    for case in &taken {
        let deadline = case["deadline"].as_str().unwrap_or_default();
        let year = case["opened_at"].as_str().unwrap_or_default()[..4].to_owned();
        let next = (year.parse::<u32>().unwrap_or(0) + 1).to_string();
        assert!(
            deadline.starts_with(&year) || deadline.starts_with(&next),
            "a time in an alert moved a deadline: {deadline}"
        );
    }
    for shown in alice.messages().await {
        assert!(shown.text.len() < 20_000, "cut, not {}", shown.text.len());
        assert!(!shown.text.contains(['\u{0}', '\u{1b}', '\u{202e}']));
    }
    still_works(&bot, "strange alerts", "afterwards").await;
    is_clean(&bot.log());
}

#[tokio::test]
async fn cut_and_slow_bodies_hold_up_nobody() {
    let bot = Bot::start(PEOPLE).await;
    let address = bot.url().replace("http://", "");
    let head = format!(
        "POST /v1/alerts HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{\"principal\": \"alice\", ",
        bot.token()
    );
    let mut slow = Vec::new();
    for nth in 0..50 {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        // Half of them hang up in the middle, half say nothing more.
        if nth % 2 == 0 {
            slow.push(stream);
        }
    }
    let mut broken = TcpStream::connect(&address).expect("a connection");
    broken
        .write_all(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    broken.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let _ = broken.read_to_end(&mut answer);
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 400"));

    still_works(&bot, "slow bodies", "afterwards").await;
    assert!(bot.cases("employee=alice").await.is_empty());
    drop(slow);
    is_clean(&bot.log());
}

/// Starts it once; the exit code and what it said.
fn refused(bot: &Bot) -> (i32, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_securitybot"))
        .arg("--config")
        .arg(bot.dir().join("config.toml"))
        .current_dir(bot.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("a status").is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// The refusal has the code, names the thing and is one line.
fn assert_refused(bot: &Bot, what: &str, code: i32, named: &[&str]) {
    let (found, said) = refused(bot);
    assert_eq!(found, code, "{what}: {said}");
    let line = said.lines().last().unwrap_or_default();
    for name in named {
        assert!(
            line.contains(name),
            "{what}: {name} is not named in: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
    is_clean(&said);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_code_2_by_key() {
    let bot = Bot::prepare(PEOPLE);
    let file = bot.dir().join("config.toml");
    let good = std::fs::read_to_string(&file).expect("the config");
    for (what, wrong, named) in [
        ("an unknown key", good.replace("listen", "lisen"), "lisen"),
        (
            "a wrong type",
            good.replace("data_dir = ", "data_dir = 7 # "),
            "data_dir",
        ),
        (
            "an unknown section",
            format!("{good}\n[ladder]\nx = 1\n"),
            "ladder",
        ),
        ("no TOML", format!("{good}\n[[[\n"), "config.toml"),
        (
            "no duration",
            format!("{good}\n[severity.low]\nceiling = \"soon\"\n"),
            "ceiling",
        ),
    ] {
        std::fs::write(&file, wrong).expect("written");
        assert_refused(&bot, what, 2, &["config.toml", named]);
    }
    std::fs::remove_file(&file).expect("removed");
    assert_refused(&bot, "no file", 2, &["config.toml"]);
    std::fs::write(&file, good).expect("written");
    bot.started().await;
}

#[tokio::test]
async fn a_damaged_data_folder_is_refused_by_name_and_left_as_it_is() {
    let mut bot = Bot::start(PEOPLE).await;
    still_works(&bot, "the start", "first").await;
    assert_refused(&bot, "a second process", 1, &["another securitybot uses"]);
    assert!(bot.terminate().success());

    let data = bot.data_dir();
    let database = std::fs::read_dir(&data)
        .expect("the folder")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "db" || e == "sqlite"))
        .expect("a database");
    let name = database
        .file_name()
        .and_then(|n| n.to_str())
        .expect("a name");
    let good = std::fs::read(&database).expect("bytes");

    let garbage: Vec<u8> = (0..40_960u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (what, bytes) in [
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("cut to some bytes", good[..100].to_vec()),
        ("emptied", Vec::new()),
        ("garbage", garbage),
    ] {
        std::fs::write(&database, &bytes).expect("written");
        assert_refused(&bot, what, 1, &[name]);
        assert_eq!(
            std::fs::read(&database).expect("bytes"),
            bytes,
            "{what}: touched"
        );
    }
    std::fs::write(&database, &good).expect("written");

    let edit = |version: i64| {
        let db = rusqlite::Connection::open(&database).expect("it opens");
        let before: i64 = db
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .expect("read");
        db.pragma_update(None, "user_version", version)
            .expect("set");
        before
    };
    let schema = edit(99);
    assert_refused(&bot, "a newer schema", 1, &[name, "newer"]);
    edit(schema);

    let config = bot.dir().join("config.toml");
    let text = std::fs::read_to_string(&config).expect("the config");
    let other = format!("{text}\n[store]\nkind = \"sqlite\"\npartitions = 4\n");
    std::fs::write(&config, other).expect("written");
    assert_refused(&bot, "another partition count", 1, &[name, "8", "4"]);
    let file = bot.dir().join("a-file");
    std::fs::write(&file, "").expect("written");
    let elsewhere = text.replace(
        data.to_str().expect("a path"),
        &format!("{}/x", file.display()),
    );
    std::fs::write(&config, elsewhere).expect("written");
    assert_refused(&bot, "no folder", 1, &["a-file"]);
    std::fs::write(&config, &text).expect("written");

    for file in ["seed.key", "token"] {
        let file = data.join(file);
        let good = std::fs::read(&file).expect("bytes");
        std::fs::write(&file, [0xff, 0xfe, 0x00, 0x1b]).expect("written");
        let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
        assert_refused(&bot, "an unreadable file", 1, &[name]);
        if name == "seed.key" {
            std::fs::remove_file(&file).expect("removed");
            assert_refused(&bot, "a lost seed key", 1, &[name, "missing"]);
        }
        std::fs::write(&file, good).expect("written");
    }

    bot.spawn();
    bot.ready().await;
    still_works(&bot, "all that", "last").await;
    assert_eq!(bot.cases("alert=first").await.len(), 1, "nothing was lost");
}

/// Killed after its first files and before the seed key: that was no first start yet.
#[tokio::test]
async fn a_first_start_that_was_killed_in_between_is_one_again_and_keeps_all_to_itself() {
    use std::os::unix::fs::PermissionsExt;
    let bot = Bot::prepare(PEOPLE);
    std::fs::create_dir(bot.data_dir()).unwrap();
    std::fs::write(bot.data_dir().join("token"), "a-token-of-the-first-try\n").unwrap();
    let bot = bot.started().await;
    assert_eq!(bot.token(), "a-token-of-the-first-try");
    for file in [
        "seed.key",
        "node_id",
        "securitybot.db",
        "securitybot.db-wal",
    ] {
        let found = std::fs::metadata(bot.data_dir().join(file)).expect(file);
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_start_waits_for_a_redis_that_is_not_there_yet() {
    let mut redis = RedisServer::start();
    redis.stop();
    let config = format!("[store]\nkind = \"redis\"\nurl = \"{}\"\n", redis.url());
    let mut bot = Bot::prepare(&config);
    bot.spawn();
    let told = || bot.log().contains("waiting for the store").then_some(());
    bot.until("the bot says what it waits for", async || told())
        .await;
    redis.restart();
    bot.ready().await;
}
