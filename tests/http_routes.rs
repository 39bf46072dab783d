//! The table of routes against the running server: roles are enforced, everything served is described.
#![allow(clippy::unwrap_used, reason = "a failing test is a panic")]

mod http_support;

use http_support::Bench;
use reqwest::Method;
use securitybot::http::access::Role;
use securitybot::http::{ENDPOINTS, Needs, document};
use serde_json::Value;

#[actix_web::test]
async fn every_operator_route_refuses_strangers_and_the_role_below() {
    let bench = Bench::start().await;
    for endpoint in ENDPOINTS {
        let Needs::Operator(role) = endpoint.needs else {
            continue;
        };
        let method: Method = endpoint.method.to_uppercase().parse().unwrap();
        let path = endpoint.path.replace("{id}", "x");
        let as_token = |token: &str| {
            let request = bench.request(method.clone(), &path).bearer_auth(token);
            async { request.send().await.unwrap().status().as_u16() }
        };
        assert_eq!(as_token("wrong").await, 401, "{method} {path}");
        assert_eq!(as_token("local-token").await, 401, "{method} {path}");
        let below = match role {
            Role::Viewer => None,
            Role::Responder => Some("vera-token"),
            Role::Admin => Some("sam-token"),
        };
        if let Some(below) = below {
            assert_eq!(as_token(below).await, 403, "{method} {path}");
        }
        let allowed = as_token("admin-token").await;
        assert!(
            allowed != 401 && allowed != 403,
            "{method} {path}: {allowed}"
        );
    }
}

/// Asks the running server: whatever answers anything but "no such address" must be described.
#[actix_web::test]
async fn the_openapi_document_lists_every_route_that_is_served() {
    let bench = Bench::start().await;
    let served = bench
        .request(Method::GET, "/v1/openapi.json")
        .send()
        .await
        .unwrap();
    let served: Value = served.json().await.unwrap();
    assert_eq!(served, document());
    let paths = served["paths"].as_object().unwrap();
    let mut listed = 0;
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            listed += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = bench.request(method.clone(), &path.replace("{id}", "x"));
            let status = request
                .bearer_auth("admin-token")
                .send()
                .await
                .unwrap()
                .status();
            assert_ne!(status, 405, "{method} {path}");
            let described = operation["responses"].as_object().unwrap();
            let code = status.as_str();
            assert!(
                described.contains_key(code),
                "{method} {path} answered {code}"
            );
        }
    }
    assert_eq!(listed, ENDPOINTS.len());
    for needed in [
        "/v1/alerts",
        "/v1/cases",
        "/v1/cases/{id}/close",
        "/healthz",
        "/metrics",
    ] {
        assert!(paths.contains_key(needed), "{needed}");
    }
    let text = served.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(served["components"]["schemas"][name].is_object(), "{name}");
    }
}
