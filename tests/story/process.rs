//! The process as an operator handles it: told to end, told to read its config again, started twice.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::bot::{Bot, PEOPLE};
use crate::common::fake_http::{FakeHttp, Mode};
use crate::common::person::Person;
use crate::common::port::free_port;
use crate::common::redis::RedisServer;

/// What systemd gives it before it kills.
const STOP_WITHIN: Duration = Duration::from_secs(10);

const FRANK: &str = r#"
[[employees]]
id = "frank"
name = "Frank"
email = "frank@example.com"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_order_within_ten_seconds_while_a_page_is_open() {
    let mut bot = Bot::start(PEOPLE).await;
    let alice = Person::sign_in(&bot, "alice").await;
    let mut stream = alice.listen().await;
    assert!(stream.chunk().await.expect("it streams").is_some());

    let asked = Instant::now();
    let status = bot.terminate();
    assert!(status.success(), "{status}\n{}", bot.log());
    let took = asked.elapsed();
    println!("ended after {took:?}");
    assert!(took < STOP_WITHIN, "ended after {took:?}");
    assert!(bot.log().contains("stopped"));
    // The stream ends too; the page then connects again.
    while let Ok(Some(_)) = stream.chunk().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_a_good_config_as_a_whole_and_a_bad_one_not_at_all() {
    let bot = Bot::start(PEOPLE).await;
    bot.configure(&format!("{PEOPLE}{FRANK}"));
    bot.signal("HUP");
    logged(&bot, "the configuration was read again").await;
    let frank = Person::sign_in(&bot, "frank").await;
    bot.post(
        "/v1/alerts",
        json!({"principal": "frank", "rule": "sudo", "title": "sudo -i on web-9"}),
    )
    .await;
    frank.question("sudo -i on web-9").await;

    bot.configure(&format!("{PEOPLE}\nemployes = 3\n"));
    bot.signal("HUP");
    logged(&bot, "the old one stays").await;
    assert!(bot.log().contains("employes"), "{}", bot.log());
    bot.post(
        "/v1/alerts",
        json!({"id": "again", "principal": "frank", "rule": "nmap", "title": "nmap on web-9"}),
    )
    .await;
    bot.case_until("alert=again", "frank is still known", |case| {
        case["employee"] == "frank"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_the_last_pager_of_an_open_escalation_is_refused() {
    let hook = FakeHttp::start();
    let with_hook = format!(
        "{PEOPLE}\n[[pagers]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = {{ file = \"s\" }}\n\
         [[ladders]]\nname = \"default\"\nlevels = [{{ after = \"0s\", pagers = [\"hook\"], repeat = \"1s\" }}]\n",
        hook.url()
    );
    let bot = Bot::prepare(&with_hook);
    std::fs::write(bot.dir().join("s"), "secret").expect("written");
    let bot = bot.started().await;
    bot.post(
        "/v1/alerts",
        json!({"id": "who", "principal": "mallory", "rule": "sudo", "title": "sudo -i"}),
    )
    .await;
    let case = bot
        .case_until("alert=who", "paged", |case| {
            case["escalation"]["state"] == "open"
        })
        .await;

    bot.configure(PEOPLE);
    bot.signal("HUP");
    let id = case["id"].as_str().expect("an id");
    logged(&bot, &format!("escalation {id} is still open")).await;
    let before = hook.requests().len();
    bot.until("the pager is still there", async || {
        (hook.requests().len() > before + 1).then_some(())
    })
    .await;

    let resolve = format!("/v1/escalations/{id}/resolve");
    bot.post(&resolve, json!({"reason": "a guest"})).await;
    bot.signal("HUP");
    logged(&bot, "the configuration was read again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_that_a_changed_secret_waits_for_a_restart() {
    let hook = FakeHttp::start();
    let config = format!(
        "{PEOPLE}\n[[sinks]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = {{ file = \"s\" }}\n",
        hook.url()
    );
    let bot = Bot::prepare(&config);
    std::fs::write(bot.dir().join("s"), "secret").expect("written");
    let bot = bot.started().await;
    bot.signal("HUP");
    logged(&bot, "the configuration was read again").await;
    assert!(!bot.log().contains("takes effect at a restart"));
    std::fs::write(bot.dir().join("s"), "another").expect("written");
    bot.signal("HUP");
    logged(&bot, "it takes effect at a restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_get_out_is_seen_in_the_outbox() {
    let hook = FakeHttp::start();
    hook.set(Mode::Status(500));
    let config = format!(
        "{PEOPLE}\n[[pagers]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nsecret = {{ file = \"s\" }}\n\
         [[ladders]]\nname = \"default\"\nlevels = [{{ after = \"0s\", pagers = [\"hook\"] }}]\n",
        hook.url()
    );
    let bot = Bot::prepare(&config);
    std::fs::write(bot.dir().join("s"), "secret").expect("written");
    let bot = bot.started().await;
    assert!(bot.cli(&["page", "test"]).status.success());
    let depth = async || {
        bot.metric("securitybot_outbox_effects", r#"kind="escalation""#)
            .await
    };
    bot.until("the page waits", async || {
        (depth().await > 0.0).then_some(())
    })
    .await;
    hook.set(Mode::Ok);
    bot.until("it went out", async || (depth().await == 0.0).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_folder_ends_and_names_it() {
    let bot = Bot::start(PEOPLE).await;
    let second = Bot::prepare(PEOPLE);
    let output = run_to_end(
        &second,
        &[(
            "SECURITYBOT__SERVER__DATA_DIR",
            bot.data_dir().to_str().expect("a plain path"),
        )],
    );
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(bot.data_dir().to_str().expect("a plain path")),
        "{said}"
    );
    assert!(said.contains("another securitybot"), "{said}");
    bot.get("/v1/cases").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_redis_waits_and_ends() {
    let redis = RedisServer::start();
    let store = format!(
        "{PEOPLE}\n[store]\nkind = \"redis\"\nurl = {:?}\n",
        redis.url()
    );
    let bot = Bot::start(&store).await;
    let second = Bot::prepare(&store);
    let started = Instant::now();
    let output = tokio::task::spawn_blocking(move || run_to_end(&second, &[])).await;
    let output = output.expect("it ends");
    println!("the second gave up after {:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("store"), "{said}");
    println!("{said}");
    // The first has lost nothing by it.
    bot.post(
        "/v1/alerts",
        json!({"id": "after", "principal": "alice", "rule": "sudo", "title": "sudo -i"}),
    )
    .await;
    bot.case_until("alert=after", "asked", |case| case["asked_at"].is_string())
        .await;
}

async fn logged(bot: &Bot, text: &str) {
    bot.until(text, async || bot.log().contains(text).then_some(()))
        .await;
}

fn run_to_end(bot: &Bot, env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_securitybot"))
        .arg("--config")
        .arg(bot.config_file())
        .current_dir(bot.dir())
        .env(
            "SECURITYBOT__SERVER__LISTEN",
            format!("127.0.0.1:{}", free_port()),
        )
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}
