//! The main job as most companies run it: Slack asks (buttons and words), Duo's push or a code proves, PagerDuty and a
//! channel wake the security team, Redis remembers. The bot is killed wherever it hurts; nobody is asked twice.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod common;

use std::fmt::Write as _;

use common::bot::{Bot, PATIENCE, PEOPLE};
use common::fake_duo::{FakeDuo, IKEY, SKEY};
use common::fake_pagerduty::FakePagerDuty;
use common::fake_slack::{APP_TOKEN, BOT_TOKEN, FakeSlack, Mode, people};
use common::person::{secret_of, totp};
use common::redis::RedisServer;
use serde_json::{Value, json};

const CHANNEL: &str = "C0SEC";

/// Slack, Duo, PagerDuty and Redis around one bot.
struct Company {
    bot: Bot,
    slack: FakeSlack,
    duo: FakeDuo,
    pagerduty: FakePagerDuty,
    kills: usize,
    _redis: RedisServer,
}

impl Company {
    async fn set() -> Self {
        let slack = FakeSlack::start();
        for name in ["Alice", "Bob", "Carol", "Dave"] {
            let email = format!("{}@example.com", name.to_lowercase());
            slack.add_user(&user(name), name, &email);
        }
        slack.add_channel(CHANNEL);
        let (duo, pagerduty) = (FakeDuo::start(), FakePagerDuty::start("pd-secret"));
        let redis = RedisServer::start();
        let bot = Bot::prepare("");
        let secret = |name: &str, value: &str| {
            let file = bot.dir().join(name);
            std::fs::write(&file, value).unwrap();
            format!("{{ file = {:?} }}", file.display().to_string())
        };
        let mut config = format!(
            r#"
[store]
kind = "redis"
url = {redis}
[chat]
kind = "slack"
bot_token = {bot_token}
app_token = {app_token}
api_url = "{slack}"
security_channel = "{CHANNEL}"
[factors.duo]
integration_key = {ikey}
secret_key = {skey}
api_host = "127.0.0.1"
api_url = "{duo}"
[[pagers]]
name = "pd"
kind = "pagerduty"
routing_key = {routing}
api_url = "{pagerduty}"
webhook_secret = {webhook}
[[pagers]]
name = "channel"
kind = "slack"
[[ladders]]
name = "default"
levels = [{{ after = "0s", pagers = ["pd", "channel"], repeat = "15m" }}]
ack_expires = "4h"
[[operators]]
name = "sam"
token = {sam}
roles = ["responder"]
chat = "T0TEST/USAM"
[[rules]]
match = "nmap"
severity = "high"
answer_within = "4s"
ceiling = "1m"
"#,
            redis = secret("redis", &redis.url()),
            bot_token = secret("bot-token", BOT_TOKEN),
            app_token = secret("app-token", APP_TOKEN),
            slack = slack.api_url(),
            ikey = secret("ikey", IKEY),
            skey = secret("skey", SKEY),
            duo = duo.url(),
            routing = secret("routing", "R0UT1NG"),
            pagerduty = pagerduty.url(),
            webhook = secret("webhook", "pd-secret"),
            sam = secret("sam", "sam-is-on-duty"),
        );
        let _ = write!(config, "{PEOPLE}");
        bot.configure(&config);
        let bot = bot.started().await;
        slack.wait_connected(1);
        Self {
            bot,
            slack,
            duo,
            pagerduty,
            kills: 0,
            _redis: redis,
        }
    }

    async fn alert(&self, principal: &str, rule: &str, host: &str) {
        let alert = json!({
            "id": host, "principal": principal, "rule": rule, "title": title(rule, host), "context": { "host": host },
        });
        self.bot.post("/v1/alerts", alert).await;
    }

    async fn kill9_and_restart(&mut self) {
        self.kills += 1;
        self.bot.kill9_and_restart().await;
        self.slack.wait_connected(1);
    }

    /// The form that this press opens.
    fn opens_form(&self, user: &str, message: &Value, button: &str) -> Value {
        let before = self.slack.state().views.len();
        let click = self.slack.click(user, message, button);
        self.slack.acknowledged(&click);
        self.slack.form(before)
    }

    async fn outcome(&self, host: &str, outcome: &str) -> Value {
        let filter = format!("alert={host}");
        let is = |case: &Value| case["outcome"] == outcome;
        self.bot.case_until(&filter, outcome, is).await
    }

    async fn on_timeline(&self, case: &str, what: &str) {
        let path = format!("/v1/cases/{case}");
        let look = async || {
            let case = self.bot.get(&path).await;
            let mut timeline = case["timeline"].as_array()?.iter();
            timeline.find(|record| record["what"] == what).map(drop)
        };
        self.bot.until(what, look).await;
    }

    fn wait_for_page(&self, key: &str, severity: &str) -> Value {
        let wanted = format!("trigger {key}");
        let until = std::time::Instant::now() + PATIENCE;
        while !self.pagerduty.actions().contains(&wanted) {
            let waited = std::time::Instant::now() < until;
            assert!(waited, "no {wanted} in {:?}", self.pagerduty.actions());
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        let events = self.pagerduty.events();
        let mut events = events.into_iter();
        let event = events.find(|event| event["dedup_key"] == key).unwrap();
        assert_eq!(event["payload"]["severity"], severity, "{event:#}");
        event
    }
}

fn user(name: &str) -> String {
    format!("U{}", name.to_uppercase())
}

fn title(rule: &str, host: &str) -> String {
    format!("{rule} on {host}")
}

fn id(case: &Value) -> String {
    case["id"].as_str().unwrap().to_owned()
}

fn no_answer_buttons(message: &Value) -> bool {
    !people::actions(message)
        .iter()
        .any(|action| action == "yes")
}

#[tokio::test]
async fn the_main_job_through_slack_duo_and_pagerduty() {
    let mut company = Company::set().await;
    alice_approves_on_her_phone(&mut company).await;
    alice_answers_in_words_and_types_a_code(&mut company).await;
    bob_says_no_and_pagerduty_takes_it(&mut company).await;
    carol_says_nothing(&mut company).await;
    dave_reports_a_fraud(&mut company).await;
    everybody_was_asked_once(&company);
}

/// Killed with the question shown, and again with the request on her phone.
async fn alice_approves_on_her_phone(company: &mut Company) {
    company.alert("alice", "sudo", "web-1").await;
    let asked = company.slack.message_to("UALICE", &title("sudo", "web-1"));
    company.kill9_and_restart().await;

    // Without an authenticator the phone is the only proof: the form has no field for a code.
    let form = company.opens_form("UALICE", &asked, "yes");
    assert_eq!(form["submit"]["text"], "Approve on my phone");
    let answer = company
        .slack
        .submit_push("UALICE", &form, "restarting nginx");
    assert_eq!(answer, Value::Null, "the form closes");
    let pushes = company.duo.wait_for_pushes(1, PATIENCE);
    assert_eq!(pushes[0].user, "alice@example.com");
    let case = company.bot.cases("alert=web-1").await[0].clone();
    company.on_timeline(&id(&case), "push_sent").await;
    company.kill9_and_restart().await;
    company.duo.answer("allow", "allow");
    let case = company.outcome("web-1", "verified").await;
    assert_eq!(case["factor"], "duo");
    assert_eq!(case["explanation"], "restarting nginx");
    company.slack.edited(&asked, "the end of web-1", |message| {
        people::actions(message) == ["not_me_after_all"]
    });
    assert_eq!(company.duo.pushes().len(), 1);
}

/// Killed while Slack has taken the question and not said so. With both factors she chooses in the form; a wrong code is
/// told at its field.
async fn alice_answers_in_words_and_types_a_code(company: &mut Company) {
    let enrolled = company
        .bot
        .post("/v1/employees/alice/factors/totp", json!({}));
    let secret = secret_of(&enrolled.await);
    company.slack.message_to("UALICE", "authenticator app");
    company.slack.mode("chat.postMessage", Mode::Hang, 1);
    company.alert("alice", "sudo", "web-2").await;
    let asked = company.slack.message_to("UALICE", &title("sudo", "web-2"));
    company.kill9_and_restart().await;
    let is_asked = |case: &Value| case["state"] == "asked";
    company
        .bot
        .case_until("alert=web-2", "found again", is_asked)
        .await;
    let said = company
        .slack
        .say("UALICE", "yes, that was me, cleaning up the logs");
    company.slack.acknowledged(&said);
    let asked = company
        .slack
        .edited(&asked, "the form's button", |message| {
            people::actions(message).contains(&"form".to_owned())
        });
    let form = company.opens_form("UALICE", &asked, "form");
    let fields = form.to_string();
    assert!(
        fields.contains("Approve on my phone") && fields.contains("code"),
        "{fields}"
    );
    let by_code = |code: &str| {
        let fields = [("factor", "code"), ("code", code)];
        company.slack.fill_in("UALICE", &form, &fields)
    };
    let right = totp(&secret, 0);
    let wrong = if right == "000000" {
        "111111"
    } else {
        "000000"
    };
    assert_eq!(by_code(wrong)["response_action"], "errors");
    assert_eq!(by_code(&right), Value::Null);
    let case = company.outcome("web-2", "verified").await;
    assert_eq!(case["factor"], "totp");
    let words = case["explanation"].as_str().unwrap();
    assert!(words.contains("cleaning up the logs"), "{words}");
}

/// Killed right after the no.
async fn bob_says_no_and_pagerduty_takes_it(company: &mut Company) {
    company.alert("bob", "sudo", "web-3").await;
    let asked = company.slack.message_to("UBOB", &title("sudo", "web-3"));
    let case = company
        .bot
        .case_until("alert=web-3", "asked", |case| case["state"] == "asked");
    let case = id(&case.await);
    let no = company.slack.click("UBOB", &asked, "no");
    company.slack.acknowledged(&no);
    company.kill9_and_restart().await;
    company.outcome("web-3", "denied").await;
    company
        .slack
        .edited(&asked, "no live buttons", no_answer_buttons);

    let key = format!("{case}:1:1");
    company.wait_for_page(&key, "error");
    let page = company.slack.message_in(CHANNEL, &title("sudo", "web-3"));
    let jane = json!({ "id": "PLH1HKV", "type": "user_reference", "summary": "Jane Roe" });
    let url = company.bot.url();
    let told = company
        .pagerduty
        .tell(&url, "incident.acknowledged", &key, jane);
    assert_eq!(told.await, 202);
    let path = format!("/v1/cases/{case}");
    let escalation = company.bot.get(&path).await["escalation"].clone();
    assert_eq!(escalation["acknowledged_by"], "pagerduty:Jane Roe");
    let page = company.slack.edited(&page, "who is on it", |message| {
        message
            .to_string()
            .contains("Acknowledged by pagerduty:Jane Roe")
    });

    let form = company.opens_form("USAM", &page, "page_resolve");
    let answer = company
        .slack
        .submit_reason("USAM", &form, "a colleague at bob's desk");
    assert_eq!(answer, Value::Null);
    let over = format!("resolve {key}");
    let resolved = async || company.pagerduty.actions().contains(&over).then_some(());
    company.bot.until("the end in PagerDuty", resolved).await;
    let escalation = company.bot.get(&path).await["escalation"].clone();
    assert_eq!(escalation["resolved_by"], "sam");
    let pages = company.slack.state().messages[CHANNEL].len();
    assert_eq!(pages, 1, "one page in the channel, whatever was killed");
}

async fn carol_says_nothing(company: &mut Company) {
    company.alert("carol", "nmap", "web-4").await;
    let asked = company.slack.message_to("UCAROL", &title("nmap", "web-4"));
    company.kill9_and_restart().await;
    let case = company.outcome("web-4", "no_answer").await;
    company.wait_for_page(&format!("{}:1:1", id(&case)), "error");
    company
        .slack
        .edited(&asked, "no live buttons", no_answer_buttons);
}

async fn dave_reports_a_fraud(company: &mut Company) {
    company.alert("dave", "sudo", "web-5").await;
    let asked = company.slack.message_to("UDAVE", &title("sudo", "web-5"));
    let form = company.opens_form("UDAVE", &asked, "yes");
    company.slack.submit_push("UDAVE", &form, "not me at all");
    company.duo.wait_for_pushes(2, PATIENCE);
    company.duo.answer("deny", "fraud");
    let case = company.outcome("web-5", "verification_failed").await;
    let event = company.wait_for_page(&format!("{}:1:1", id(&case)), "critical");
    let summary = event["payload"]["summary"].as_str().unwrap();
    assert!(summary.contains("FRAUD"), "{summary}");
}

fn everybody_was_asked_once(company: &Company) {
    let messages = company.slack.state().messages.clone();
    for (rule, host) in [
        ("sudo", "web-1"),
        ("sudo", "web-2"),
        ("sudo", "web-3"),
        ("nmap", "web-4"),
        ("sudo", "web-5"),
    ] {
        // A question is headed by its title, before and after its end; reminders and pages are not.
        let headed = |message: &&Value| message["blocks"][0]["text"]["text"] == title(rule, host);
        let asked = messages.values().flatten().filter(headed).count();
        assert_eq!(asked, 1, "{host} was asked {asked} times");
    }
    let mut keys: Vec<String> = messages
        .values()
        .flatten()
        .filter_map(|message| {
            let payload = &message["metadata"]["event_payload"];
            payload["key"].as_str().map(str::to_owned)
        })
        .collect();
    let sent = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), sent, "no message was sent twice");
    let refused = company.slack.state().refused_429;
    println!(
        "{sent} messages, {} kills, {refused} refused by Slack's limits",
        company.kills
    );
    // A limiter that dies with the process may cost one refusal after each restart.
    assert!(refused <= company.kills, "{refused} refusals");
    assert_eq!(company.duo.refused(), 0);
}
