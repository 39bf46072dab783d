//! For supervisors and Prometheus: alive, ready, and the numbers. Ready means that alerts can be made
//! durable; a dead chat or pager only degrades, or a load balancer would refuse alerts for it.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::Http;

pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({"alive": true}))
}

pub async fn readyz(http: web::Data<Http>) -> HttpResponse {
    let readiness = http.readiness.borrow().clone();
    let mut response = if readiness.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response.json(json!({
        "ready": readiness.ready,
        "failing": readiness.failing,
        "degraded": readiness.degraded,
    }))
}

pub async fn metrics(http: web::Data<Http>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(http.metrics.render())
}
