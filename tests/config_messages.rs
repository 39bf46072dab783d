//! What somebody reads who made a mistake in `config.toml`: one test per class of mistake. A message
//! that does not name the line and what was expected costs an evening.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

use std::path::Path;

use insta::assert_snapshot;
use securitybot::config::Config;

fn faults(text: &str) -> String {
    faults_with(text, &[])
}

fn faults_with(text: &str, env: &[(&str, &str)]) -> String {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    match Config::parse(Path::new("config.toml"), text.to_owned(), env) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn broken_syntax_names_the_line() {
    assert_snapshot!(faults("[server]\nlisten = \"127.0.0.1:8080\ndata_dir = \"x\"\n"), @r##"
config.toml:2: invalid basic string, expected `"`
"##);
}

#[test]
fn a_misspelt_key_is_refused_with_the_known_ones() {
    assert_snapshot!(faults("[server]\nlisten = \"127.0.0.1:80\"\nlsten = \"x\"\n[[rules]]\nmatch = \"a\"\nladdr = \"x\"\n[srver]\n"), @r##"
config.toml:3: server.lsten: unknown key, expected one of listen, data_dir, public_url, max_body
config.toml:6: rules[0].laddr: unknown key, expected one of match, mode, severity, answer_within, ceiling, snooze, snooze_max, context_keys, explanation, ladder, hide, withdraw_on_resolve, factor
config.toml:7: srver: unknown key, expected one of server, log, store, messages, chat, factors, severity, working_hours, directory, employees, operators, sources, rules, ladders, pagers, sinks, rollups, heartbeat, retention
"##);
}

#[test]
fn every_wrong_value_is_named_not_only_the_first() {
    assert_snapshot!(faults(r#"
[server]
listen = "localhost"
max_body = "1 mile"
[store]
partitions = "eight"
[severity.medium]
answer_within = "2 hours"
ceiling = 7
working_hours = "yes"
[working_hours]
start = "9"
days = ["mon", "someday"]
holidays = ["25.12.2026"]
[[employees]]
id = "alice"
time_zone = "Europe/Entenhausen"
[[rules]]
match = "sudo*"
severity = "hihg"
[[rules]]
match = "[ab]"
mode = "off"
[[rules]]
severity = "low"
[[operators]]
name = "sam"
token = { env = "T" }
roles = ["boss"]
"#), @r##"
config.toml:3: server.listen: expected an address with a port, such as "127.0.0.1:8080" or "[::]:8080", got "localhost"
config.toml:4: server.max_body: expected a size such as "64KiB", "1MiB" or "500000B", got "1 mile"
config.toml:6: store.partitions: expected a whole number, got string "eight"
config.toml:8: severity.medium.answer_within: expected a duration such as "500ms", "90s", "15m", "21h" or "400d", got "2 hours"
config.toml:9: severity.medium.ceiling: expected a duration such as "500ms", "90s", "15m", "21h" or "400d", got integer 7
config.toml:10: severity.medium.working_hours: expected true or false, got string "yes"
config.toml:12: working_hours.start: expected a time of day such as "09:00", got "9"
config.toml:13: working_hours.days[1]: expected mon, tue, wed, thu, fri, sat or sun, got "someday"
config.toml:14: working_hours.holidays[0]: expected a date such as "2026-12-25", got "25.12.2026"
config.toml:17: employees[0].time_zone: expected a time zone such as "Europe/Berlin" or "UTC", got "Europe/Entenhausen"
config.toml:20: rules[0].severity: expected low, medium, high or critical, got "hihg"
config.toml:22: rules[1].match: expected a rule name with the wildcards * and ? only, such as "sudo*", got "[ab]"
config.toml:23: rules[1].mode: expected ask, shadow or page, got "off"
config.toml:24: rules[2]: the key match is missing here
config.toml:29: operators[0].roles[0]: expected viewer, responder or admin, got "boss"
"##);
}

#[test]
fn a_secret_in_the_file_is_refused_without_repeating_it() {
    let text = r#"
[store]
kind = "redis"
url = "redis://:hunter2@127.0.0.1/0"
[server]
public_url = "https://bot:hunter2@example.com"
[[operators]]
name = "sam"
token = "hunter2"
roles = ["viewer"]
[[operators]]
name = "kim"
token = { vault = "x" }
roles = ["viewer"]
"#;
    let faults = faults(text);
    assert!(!faults.contains("hunter2"));
    assert_snapshot!(faults, @r##"
config.toml:4: store.url: a password is never written here, expected the whole URL as { env = "NAME" } or { file = "path" }
config.toml:6: server.public_url: expected a URL without a password, such as "https://bot.example.com"
config.toml:9: operators[0].token: a secret is never written here, expected { env = "NAME" } or { file = "path" }
config.toml:13: operators[1].token: a secret is never written here, expected { env = "NAME" } or { file = "path" }
"##);
}

#[test]
fn a_secret_that_is_not_there_names_the_key() {
    assert_snapshot!(faults_with(r#"
[[operators]]
name = "sam"
token = { env = "SAM_TOKEN" }
roles = ["viewer"]
[[operators]]
name = "kim"
token = { file = "/nonexistent/kim" }
roles = ["viewer"]
[[operators]]
name = "lee"
token = { env = "EMPTY" }
roles = ["viewer"]
"#, &[("EMPTY", "\n")]), @r##"
config.toml:4: operators[0].token: the environment variable SAM_TOKEN is not set, expected the secret in it
config.toml:8: operators[1].token: the file /nonexistent/kim cannot be read: No such file or directory (os error 2)
config.toml:12: operators[2].token: the environment variable EMPTY is empty, expected the secret in it
"##);
}

#[test]
fn one_name_for_two_employees_is_refused() {
    assert_snapshot!(faults(r#"
[directory]
domains = ["example.com"]
[[employees]]
id = "alice"
email = "al@example.com"
aliases = ["asmith"]
[[employees]]
id = "bob"
aliases = ["ASmith", "al"]
manager = "carol"
[[employees]]
id = "Alice"
chat = "bob"
"#), @r##"
config.toml:10: employees[1].aliases: "ASmith" already names employee alice, expected a name of one person only
config.toml:10: employees[1].aliases: "al" already names employee alice, expected a name of one person only
config.toml:11: employees[1].manager: no employee has the id "carol"
config.toml:13: employees[2].id: "Alice" already names employee alice, expected a name of one person only
config.toml:14: employees[2].chat: "bob" is already the chat id of employee bob
"##);
}

#[test]
fn names_that_do_not_exist_are_refused_with_those_that_do() {
    assert_snapshot!(faults(r#"
[[rules]]
match = "sudo"
ladder = "night"
[[ladders]]
name = "day"
levels = [{ pagers = ["sms"] }, { after = "5m", pagers = [] }]
[[ladders]]
name = "empty"
levels = []
[rollups]
sinks = ["siem"]
"#), @r##"
config.toml:4: rules[0].ladder: no ladder is named "night", expected day or empty
config.toml:5: ladders: expected a ladder named "default": it pages what no rule sends elsewhere
config.toml:7: ladders[0].levels[0].pagers: no pager is named "sms", expected log
config.toml:7: ladders[0].levels[1].pagers: expected at least one pager
config.toml:10: ladders[1].levels: expected at least one level
config.toml:12: rollups.sinks: no sink is named "siem", expected one that is configured
"##);
}

#[test]
fn the_same_name_twice_is_refused() {
    assert_snapshot!(faults(r#"
[[pagers]]
name = "log"
kind = "log"
[[pagers]]
name = "log"
kind = "log"
[[rules]]
match = "sudo"
[[rules]]
match = "sudo"
[[operators]]
name = "admin"
token = { env = "HOME" }
roles = []
"#), @r##"
config.toml:6: pagers[1].name: another pager is named "log", expected a name of its own
config.toml:11: rules[1].match: never reached: rules[0] has the same match and the first wins
config.toml:13: operators[0].name: admin is the operator of data_dir/token, expected another name
config.toml:14: operators[0].token: the environment variable HOME is not set, expected the secret in it
config.toml:15: operators[0].roles: expected at least one of viewer, responder, admin
"##);
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    assert_snapshot!(faults(r#"
[severity.critical]
snooze = "1h"
[severity.high]
answer_within = "2h"
[[rules]]
match = "nmap"
severity = "critical"
answer_within = "1h"
snooze = "1h"
withdraw_on_resolve = true
[[rules]]
match = "slow"
ceiling = "30d"
[retention]
dedup = "30d"
[working_hours]
start = "18:00"
end = "09:00"
days = []
"#), @r##"
config.toml:3: severity.critical.snooze: expected "0s": a critical alert is never snoozed
config.toml:5: severity.high.answer_within: longer than the ceiling, expected at most the ceiling
config.toml:9: rules[0].answer_within: longer than the ceiling, expected at most the ceiling
config.toml:10: rules[0].snooze: expected "0s": a critical alert is never snoozed
config.toml:11: rules[0].withdraw_on_resolve: never for high or critical: an intruder only has to stop for five minutes
config.toml:16: retention.dedup: expected at least "37d" (the longest ceiling and 7 days), or a producer's repeat would be asked again
config.toml:18: working_hours.start: expected a time before the end of working hours
config.toml:20: working_hours.days: expected at least one of mon, tue, wed, thu, fri, sat, sun
"##);
}

#[test]
fn each_kind_needs_its_own_keys_and_refuses_others() {
    assert_snapshot!(faults(r#"
[store]
url = "redis://127.0.0.1/"
[chat]
kind = "slack"
[[sources]]
name = "splunk"
kind = "http"
[[sources]]
name = "am"
kind = "alertmanager_webhook"
secret = { env = "X" }
[[sources]]
name = "poll"
kind = "alertmanager"
[[sources]]
name = "falco"
kind = "jsonl"
path = "x"
map = { rule = "rule", title = "output[", host = "hostname" }
[[pagers]]
name = "log"
kind = "log"
url = "http://x"
[[pagers]]
name = "hook"
kind = "webhook"
[[pagers]]
name = "duty"
kind = "pagerduty"
[[sinks]]
name = "answers"
kind = "jsonl"
"#), @r##"
config.toml:3: store.url: not used by kind "sqlite", expected no such key
config.toml:4: chat.bot_token: missing, expected it for kind "slack"
config.toml:4: chat.app_token: missing, expected it for kind "slack"
config.toml:6: sources[0].token: missing, expected token or secret as { env = "NAME" } or { file = "path" }
config.toml:9: sources[1].token: missing, expected it for kind "alertmanager_webhook"
config.toml:12: sources[1].secret: not used by kind "alertmanager_webhook", expected no such key
config.toml:13: sources[2].url: missing, expected it for kind "alertmanager"
config.toml:20: sources[3].map.host: unknown field of an alert, expected one of where, id, principal, rule, title, description, reason, severity, occurred_at, url, "context.NAME", "severity.WORD"
config.toml:20: sources[3].map.title: expected a JMESPath expression: Parse error: Expected number, ':', or '*' -- found Eof (line 0, column 7)
config.toml:20: sources[3].map.principal: missing, expected an expression for every required field of an alert
config.toml:24: pagers[0].url: not used by kind "log", expected no such key
config.toml:25: pagers[1].url: missing, expected it for kind "webhook"
config.toml:25: pagers[1].secret: missing, expected it for kind "webhook"
config.toml:28: pagers[2].routing_key: missing, expected it for kind "pagerduty"
config.toml:31: sinks[0].path: missing, expected it for kind "jsonl"
"##);
}

#[test]
fn an_override_that_is_wrong_is_named_by_its_variable() {
    assert_snapshot!(faults_with("[server]\nlisten = \"127.0.0.1:80\"\n", &[
        ("SECURITYBOT__SERVER__LISTN", "0.0.0.0:80"),
        ("SECURITYBOT__SERVER__LISTEN", "everywhere"),
        ("SECURITYBOT__SRVER__LISTEN", "0.0.0.0:80"),
        ("SECURITYBOT__STORE__PARTITIONS", "many"),
            ("SECURITYBOT__DIRECTORY__DOMAINS", "[7]"),
        ("SECURITYBOT__EMPLOYEES__3__ID", "bob"),
    ]), @r##"
SECURITYBOT__EMPLOYEES__3__ID: employees.3.id: unknown key, expected one of config.toml (list entries by number, the next free one appends)
SECURITYBOT__DIRECTORY__DOMAINS: directory.domains[0]: expected text in quotes, got integer 7
SECURITYBOT__SERVER__LISTEN: server.listen: expected an address with a port, such as "127.0.0.1:8080" or "[::]:8080", got "everywhere"
SECURITYBOT__SERVER__LISTN: server.listn: unknown key, expected one of listen, data_dir, public_url, max_body
SECURITYBOT__SRVER__LISTEN: srver: unknown key, expected one of server, log, store, messages, chat, factors, severity, working_hours, directory, employees, operators, sources, rules, ladders, pagers, sinks, rollups, heartbeat, retention
SECURITYBOT__STORE__PARTITIONS: store.partitions: expected a whole number, got string "many"
"##);
}
