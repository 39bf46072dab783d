//! A service for the command line to talk to: it answers what a test sets and keeps what it was sent.

#![allow(clippy::unwrap_used)] // helpers of tests: a failure there is a failed test

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use clap::Parser;
use securitybot::cli::{self, Api, Args, Command, Failure};
use securitybot::config::Config;
use serde_json::{Value, json};

/// A service that gives the answer set for `METHOD path?query`, else 404, and keeps what it was sent.
pub struct FakeService {
    pub url: String,
    /// Method with path and query, authorization, body.
    pub calls: Arc<Mutex<Vec<(String, String, Value)>>>,
    _server: actix_web::dev::ServerHandle,
}

#[derive(Clone)]
struct Script {
    answers: Arc<BTreeMap<String, (u16, Value)>>,
    calls: Arc<Mutex<Vec<(String, String, Value)>>>,
}

async fn answer(script: web::Data<Script>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let call = format!("{} {}", request.method(), request.uri());
    let token = request
        .headers()
        .get("authorization")
        .and_then(|v| v.to_str().ok());
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let token = token.unwrap_or_default().to_owned();
    script
        .calls
        .lock()
        .unwrap()
        .push((call.clone(), token, body));
    match script.answers.get(&call) {
        Some((status, body)) => {
            HttpResponse::build(actix_web::http::StatusCode::from_u16(*status).unwrap()).json(body)
        }
        None => HttpResponse::NotFound().json(json!({"error": "there is no such thing"})),
    }
}

pub fn service(answers: &[(&str, u16, Value)]) -> FakeService {
    let answers = answers
        .iter()
        .map(|(call, status, body)| ((*call).to_owned(), (*status, body.clone())))
        .collect();
    let script = Script {
        answers: Arc::new(answers),
        calls: Arc::default(),
    };
    let data = web::Data::new(script.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .default_service(web::to(answer))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let url = format!("http://{}", server.addrs()[0]);
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    FakeService {
        url,
        calls: script.calls,
        _server: handle,
    }
}

pub fn config() -> Config {
    Config::parse(Path::new("config.toml"), String::new(), std::iter::empty()).unwrap()
}

pub async fn run(server: &str, words: &[&str]) -> Result<String, Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = ["securitybot", "--server", server, "--token", "t0ken"];
    let args = Args::try_parse_from(args.iter().chain(words)).unwrap();
    let Some(Command::Api(command)) = args.command else {
        panic!("not a command of the API")
    };
    let api = Api::new(&config(), args.server.as_deref(), args.token.as_deref())?;
    let mut out = Vec::new();
    cli::run(&command, &api, &mut out).await?;
    Ok(String::from_utf8(out).unwrap())
}
