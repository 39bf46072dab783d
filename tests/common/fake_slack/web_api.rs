//! The Web API: `POST /api/{method}` with a form or JSON, as both kinds of clients send it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Map, Value, json};

use super::rules::{check_blocks, check_home, check_view};
use super::state::{ANY, File, Mode, Seen, State};
use super::{APP_TOKEN, BOT_TOKEN, Shared, TEAM, error, ok};

const MINUTE: Duration = Duration::from_secs(60);
/// "Several hundred messages per minute" for a workspace, says Slack and no more.
const MOST_A_MINUTE: usize = 350;
const BOT: &str = "B0BOT";
const BOT_USER: &str = "U0BOT";

pub fn server(shared: Arc<Shared>) -> (actix_web::dev::Server, u16) {
    let data = web::Data::from(shared);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(web::PayloadConfig::new(4 * 1024 * 1024))
            .route("/api/{method}", web::to(call))
            .route("/upload/{file}", web::post().to(upload))
    })
    .workers(2)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let port = server.addrs()[0].port();
    (server.run(), port)
}

async fn call(
    req: HttpRequest,
    method: web::Path<String>,
    shared: web::Data<Shared>,
    body: web::Bytes,
) -> HttpResponse {
    let arguments = arguments(&req, &body);
    let origin = format!("http://{}", req.connection_info().host());
    let token = req.headers().get("authorization");
    let token = token
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .or(arguments["token"].as_str())
        .unwrap_or_default()
        .to_owned();
    let (mode, answer) = {
        let mut state = shared.state.lock().unwrap();
        let mode = begin(&mut state, &method, &arguments);
        let answer = decide(&mut state, &method, &arguments, &token, &origin, &mode);
        observe(&state, &method, &arguments, &answer);
        (mode, answer)
    };
    shared.changed.notify_all();
    match (mode, answer) {
        (_, Answer::Wait(wait)) => HttpResponse::TooManyRequests()
            .insert_header(("Retry-After", wait.to_string()))
            .json(error("ratelimited")),
        (_, Answer::Trouble(status)) => {
            let status = actix_web::http::StatusCode::from_u16(status).unwrap();
            HttpResponse::build(status).body("upstream trouble")
        }
        (Some(Mode::CutAfterApplying | Mode::CutBeforeApplying), _) => {
            let cut = futures_util::stream::iter([
                Ok(web::Bytes::from_static(b"{\"ok\":")),
                Err(std::io::Error::other("cut")),
            ]);
            HttpResponse::Ok().streaming(cut)
        }
        (Some(Mode::Hang), _) => {
            tokio::time::sleep(Duration::from_secs(300)).await;
            HttpResponse::Ok().finish()
        }
        (_, Answer::Said(said) | Answer::Refused(said)) => HttpResponse::Ok().json(said),
        (_, Answer::Nothing) => HttpResponse::InternalServerError().finish(),
    }
}

/// What becomes of a call.
enum Answer {
    /// Read and applied.
    Said(Value),
    /// Refused before it was read.
    Refused(Value),
    /// 429.
    Wait(u64),
    Trouble(u16),
    Nothing,
}

/// Keeps the call, and says how it goes.
fn begin(state: &mut State, method: &str, arguments: &Value) -> Option<Mode> {
    state.calls.push((method.to_owned(), arguments.clone()));
    let named = state.modes.contains_key(method);
    let (mode, left) = state.modes.get_mut(if named { method } else { ANY })?;
    *left = left.checked_sub(1)?;
    Some(mode.clone())
}

fn decide(
    state: &mut State,
    method: &str,
    args: &Value,
    token: &str,
    origin: &str,
    mode: &Option<Mode>,
) -> Answer {
    let limited = match channel_of(state, args) {
        Some(channel) if method == "chat.postMessage" => format!("{method}/{channel}"),
        _ => method.to_owned(),
    };
    let now = Instant::now();
    let silence = state.silent_until.get(&limited);
    if let Some(left) = silence.and_then(|until| until.checked_duration_since(now)) {
        return Answer::Wait(left.as_secs() + 1);
    }
    match mode {
        Some(Mode::RateLimited(wait)) => {
            let until = now + Duration::from_secs(*wait);
            state.silent_until.insert(limited, until);
            return Answer::Wait(*wait);
        }
        Some(Mode::Status(status)) => return Answer::Trouble(*status),
        Some(Mode::Refused(code)) => return Answer::Refused(error(code)),
        Some(Mode::CutBeforeApplying) => return Answer::Nothing,
        Some(Mode::CutAfterApplying | Mode::Hang) | None => {}
    }
    match answer(state, method, args, token, origin) {
        Ok(said) => Answer::Said(said),
        Err(wait) => Answer::Wait(wait),
    }
}

/// The id of the channel that a call is about; it may name a user instead.
fn channel_of(state: &State, args: &Value) -> Option<String> {
    let named = args["channel"].as_str()?;
    let of_user = state.channels.get(named);
    Some(of_user.map_or(named, String::as_str).to_owned())
}

fn observe(state: &State, method: &str, arguments: &Value, answer: &Answer) {
    let Some(observer) = &state.observer else {
        return;
    };
    let channel = channel_of(state, arguments);
    let mut users = state.channels.iter();
    let user = users.find(|(_, of)| Some(*of) == channel.as_ref());
    let trigger = arguments["trigger_id"].as_str();
    let pressed = trigger.and_then(|trigger| state.triggers.get(trigger));
    observer(&Seen {
        method,
        arguments,
        user: user
            .map(|(user, _)| user.as_str())
            .or(pressed.map(|(_, _, user)| user.as_str())),
        channel: channel.as_deref(),
        applied: match answer {
            Answer::Said(said) if said["ok"] == true => Some(said),
            _ => None,
        },
        asked_to_wait: match answer {
            Answer::Wait(wait) => Some(*wait),
            _ => None,
        },
    });
}

/// JSON, or a form whose structured fields are JSON themselves.
fn arguments(req: &HttpRequest, body: &[u8]) -> Value {
    let mut all = Map::new();
    let kind = req.headers().get("content-type");
    let is_json = kind.is_some_and(|kind| kind.to_str().unwrap().starts_with("application/json"));
    let mut pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(req.query_string().as_bytes())
            .into_owned()
            .collect();
    if is_json {
        if let Ok(Value::Object(json)) = serde_json::from_slice(body) {
            all.extend(json);
        }
    } else {
        pairs.extend(url::form_urlencoded::parse(body).into_owned());
    }
    for (name, value) in pairs {
        let structured = matches!(name.as_str(), "blocks" | "metadata" | "view");
        let value = match structured {
            true => serde_json::from_str(&value).unwrap_or(Value::Null),
            false => Value::String(value),
        };
        all.insert(name, value);
    }
    Value::Object(all)
}

/// `Err(seconds)`: 429.
fn answer(
    state: &mut State,
    method: &str,
    args: &Value,
    token: &str,
    origin: &str,
) -> Result<Value, u64> {
    let expected = match method {
        "apps.connections.open" => APP_TOKEN,
        _ => BOT_TOKEN,
    };
    if token != expected {
        return Ok(error("invalid_auth"));
    }
    let text = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
    Ok(match method {
        "auth.test" => ok(json!({
            "url": "https://test.slack.com/", "team": "Test", "team_id": TEAM, "user": "securitybot",
            "user_id": BOT_USER, "bot_id": BOT,
        })),
        "apps.connections.open" => {
            let (port, ticket) = (state.socket_port, state.next(""));
            let plain = format!("ws://127.0.0.1:{port}/link");
            let door = state.socket_url.clone().unwrap_or(plain);
            ok(json!({ "url": format!("{door}?ticket={ticket}") }))
        }
        "conversations.open" => match text("users") {
            user if !state.is_user(&user) => error("user_not_found"),
            user => {
                let channel = state.open_channel(&user);
                ok(json!({ "channel": { "id": channel } }))
            }
        },
        "chat.postMessage" => return post(state, args),
        "chat.postEphemeral" => {
            let ts = state.ts();
            ok(json!({ "message_ts": ts }))
        }
        "chat.update" => update(state, args),
        "conversations.history" => history(state, args),
        "users.list" => users(state, args),
        "files.getUploadURLExternal" => match length(&args["length"]) {
            _ if text("filename").is_empty() => error("invalid_arguments"),
            0 => error("file_upload_size_restricted"),
            length => {
                let id = state.next("F0FILE");
                let file = File {
                    name: text("filename"),
                    length,
                    ..File::default()
                };
                state.files.insert(id.clone(), file);
                ok(json!({ "upload_url": format!("{origin}/upload/{id}"), "file_id": id }))
            }
        },
        "files.completeUploadExternal" => complete_upload(state, args),
        "views.publish" => match check_home(&args["view"]) {
            Err(why) => json!({ "ok": false, "error": "invalid_arguments", "detail": why }),
            Ok(()) if !state.is_user(&text("user_id")) => error("user_not_found"),
            Ok(()) => {
                let mut view = args["view"].clone();
                view["id"] = json!(state.next("V"));
                state.homes.insert(text("user_id"), view.clone());
                ok(json!({ "view": view }))
            }
        },
        "views.open" => match check_view(&args["view"]) {
            Err(why) => json!({ "ok": false, "error": "invalid_arguments", "detail": why }),
            Ok(()) => match state.use_trigger(&text("trigger_id")) {
                Err(code) => error(code),
                Ok(()) => {
                    let mut view = args["view"].clone();
                    view["id"] = json!(state.next("V"));
                    view["hash"] = json!(state.next("hash."));
                    view["opened_by"] = args["trigger_id"].clone();
                    state.views.push(view.clone());
                    ok(json!({ "view": view }))
                }
            },
        },
        _ => error("unknown_method"),
    })
}

fn length(value: &Value) -> usize {
    let number = value.as_u64().map(|n| n as usize);
    let text = value.as_str().and_then(|text| text.parse().ok());
    number.or(text).unwrap_or(0)
}

/// Bytes go to the place that was given, as they are or as a form; without a token.
async fn upload(
    req: HttpRequest,
    file: web::Path<String>,
    shared: web::Data<Shared>,
    body: web::Bytes,
) -> HttpResponse {
    let is_form = req.headers().get("content-type").is_some_and(|kind| {
        let kind = kind.to_str().unwrap();
        kind.starts_with("multipart/")
    });
    let mut state = shared.state.lock().unwrap();
    let Some(file) = state.files.get_mut(file.as_str()) else {
        return HttpResponse::NotFound().finish();
    };
    if !is_form && body.len() != file.length {
        return HttpResponse::BadRequest().body("not as long as was said");
    }
    file.bytes = Some(body.to_vec());
    HttpResponse::Ok().body(format!("OK - {}", body.len()))
}

/// Only what was uploaded can be shared, and only with a channel the bot is in.
fn complete_upload(state: &mut State, args: &Value) -> Value {
    let files = match &args["files"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        files => files.clone(),
    };
    let text = |name: &str| args[name].as_str().unwrap_or_default().to_owned();
    let (channel, thread) = (text("channel_id"), text("thread_ts"));
    if !channel.is_empty() && !state.messages.contains_key(&channel) {
        return error("channel_not_found");
    }
    let Some(files) = files.as_array().filter(|files| !files.is_empty()) else {
        return error("invalid_arguments");
    };
    for file in files {
        let known = state.files.get_mut(file["id"].as_str().unwrap_or_default());
        match known {
            Some(file) if file.bytes.is_some() => {
                file.shared = Some((channel.clone(), thread.clone()))
            }
            _ => return error("file_not_found"),
        }
    }
    ok(json!({ "files": files }))
}

fn post(state: &mut State, args: &Value) -> Result<Value, u64> {
    let mut channel = args["channel"].as_str().unwrap_or_default().to_owned();
    if state.is_user(&channel) {
        channel = state.open_channel(&channel);
    }
    if !state.messages.contains_key(&channel) {
        return Ok(error("channel_not_found"));
    }
    if let Err(refusal) = acceptable(args) {
        return Ok(refusal);
    }
    let now = Instant::now();
    let last = state.last_post.insert(channel.clone(), now);
    while state.lately.front().is_some_and(|at| now - *at > MINUTE) {
        state.lately.pop_front();
    }
    let too_soon = last.is_some_and(|last| now - last < Duration::from_millis(1_000));
    if too_soon || state.lately.len() >= MOST_A_MINUTE {
        state.refused_429 += 1;
        return Err(1);
    }
    state.lately.push_back(now);
    let ts = state.ts();
    let mut message = json!({
        "type": "message", "channel": channel, "ts": ts, "user": BOT_USER, "bot_id": BOT, "team": TEAM,
        "text": args["text"], "blocks": args["blocks"], "metadata": args["metadata"],
    });
    if args["thread_ts"].is_string() {
        message["thread_ts"] = args["thread_ts"].clone();
    }
    state
        .messages
        .get_mut(&channel)
        .unwrap()
        .push(message.clone());
    Ok(ok(
        json!({ "channel": channel, "ts": ts, "message": message }),
    ))
}

fn acceptable(args: &Value) -> Result<(), Value> {
    let nothing = args["text"].as_str().unwrap_or_default().is_empty();
    if nothing && args["blocks"].is_null() {
        return Err(error("no_text"));
    }
    if args["blocks"].is_null() {
        return Ok(());
    }
    check_blocks(&args["blocks"], 50)
        .map_err(|why| json!({ "ok": false, "error": "invalid_blocks", "detail": why }))
}

fn update(state: &mut State, args: &Value) -> Value {
    if let Err(refusal) = acceptable(args) {
        return refusal;
    }
    let edited = format!("{}.000000", state.seconds());
    let messages = state
        .messages
        .get_mut(args["channel"].as_str().unwrap_or_default());
    let Some(messages) = messages else {
        return error("channel_not_found");
    };
    let Some(message) = messages
        .iter_mut()
        .find(|message| message["ts"] == args["ts"])
    else {
        return error("message_not_found");
    };
    if message["bot_id"].is_null() {
        return error("cant_update_message");
    }
    message["text"] = args["text"].clone();
    message["blocks"] = args["blocks"].clone();
    if args["metadata"].is_object() {
        message["metadata"] = args["metadata"].clone();
    }
    message["edited"] = json!({ "user": BOT_USER, "ts": edited });
    ok(
        json!({ "channel": args["channel"], "ts": args["ts"], "text": args["text"], "message": message }),
    )
}

/// Newest first, in pages.
fn history(state: &mut State, args: &Value) -> Value {
    let Some(messages) = state
        .messages
        .get(args["channel"].as_str().unwrap_or_default())
    else {
        return error("channel_not_found");
    };
    let number = |name: &str| {
        let value = &args[name];
        value
            .as_str()
            .and_then(|text| text.parse::<f64>().ok())
            .or(value.as_f64())
    };
    let oldest = number("oldest").unwrap_or(0.0);
    let latest = number("latest").unwrap_or(f64::MAX);
    let limit = number("limit").unwrap_or(100.0) as usize;
    let skip: usize = args["cursor"]
        .as_str()
        .and_then(|c| c.parse().ok())
        .unwrap_or(0);
    let with_metadata = args["include_all_metadata"] == "true"
        || args["include_all_metadata"] == true
        || args["include_all_metadata"] == "1";
    let recent: Vec<Value> = messages
        .iter()
        .rev()
        // Replies of a thread are in `conversations.replies` only.
        .filter(|m| m["thread_ts"].is_null() || m["thread_ts"] == m["ts"])
        .filter(|m| (oldest..=latest).contains(&m["ts"].as_str().unwrap().parse::<f64>().unwrap()))
        .cloned()
        .map(|mut message| {
            if !with_metadata {
                message["metadata"].take();
            }
            message
        })
        .collect();
    let page: Vec<Value> = recent.iter().skip(skip).take(limit).cloned().collect();
    let more = skip + page.len() < recent.len();
    let next = if more {
        (skip + limit).to_string()
    } else {
        String::new()
    };
    ok(json!({ "messages": page, "has_more": more, "response_metadata": { "next_cursor": next } }))
}

fn users(state: &mut State, args: &Value) -> Value {
    let asked = args["limit"]
        .as_str()
        .and_then(|l| l.parse().ok())
        .or(args["limit"].as_u64());
    let limit = (asked.unwrap_or(1_000) as usize).min(state.users_page);
    let skip: usize = args["cursor"]
        .as_str()
        .and_then(|c| c.parse().ok())
        .unwrap_or(0);
    let page: Vec<&Value> = state.users.iter().skip(skip).take(limit).collect();
    let more = skip + page.len() < state.users.len();
    let next = if more {
        (skip + limit).to_string()
    } else {
        String::new()
    };
    ok(json!({ "members": page, "response_metadata": { "next_cursor": next } }))
}
