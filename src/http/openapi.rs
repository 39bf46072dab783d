//! `/v1/openapi.json`, made from the table in `routes.rs`: a route cannot be served and not be described.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use crate::core::alert::Severity;
use crate::core::case::Outcome;

use super::api::{cases, escalations};
use super::routes::{ENDPOINTS, Endpoint, Needs};
use super::rows;

pub async fn serve() -> HttpResponse {
    HttpResponse::Ok().json(document())
}

/// The whole document (OpenAPI 3.1).
pub fn document() -> Value {
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths
            .entry(endpoint.path)
            .or_insert_with(|| Value::Object(Map::new()));
        path[endpoint.method] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "securitybot",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Alerts in, cases and escalations out. Errors are {\"error\": \"what was expected\"}.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "operator": {"type": "http", "scheme": "bearer", "description": "an operator's token"},
                "source": {"type": "http", "scheme": "bearer", "description": "a source's token, or Standard Webhooks headers"},
                "session": {"type": "apiKey", "in": "cookie", "name": "securitybot", "description": "the operator pages; `__Host-securitybot` over https"},
            },
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut statuses = BTreeSet::from(["200"]);
    let security = match endpoint.needs {
        Needs::Nothing => json!([]),
        Needs::Source => {
            statuses = [
                "202", "400", "401", "403", "409", "413", "415", "422", "503",
            ]
            .into();
            json!([{"source": []}])
        }
        Needs::Operator(_) => {
            statuses.extend(["401", "403", "503"]);
            json!([{"operator": []}, {"session": []}])
        }
        Needs::Session(_) => {
            statuses.extend(["303", "403", "503"]);
            json!([{"session": []}])
        }
    };
    if endpoint.path.contains('{') {
        statuses.insert("404");
        if endpoint.method != "get" {
            statuses.insert("409");
        }
    }
    if !endpoint.query.is_empty() || !endpoint.takes.is_empty() {
        statuses.insert("400");
    }
    if !endpoint.takes.is_empty() {
        statuses.insert("413");
    }
    if !endpoint.takes.is_empty() && endpoint.takes != "Form" {
        statuses.insert("415");
    }
    if endpoint.takes == "Alert" {
        statuses.insert("422");
    }
    if endpoint.path == "/login" && endpoint.method == "post" {
        statuses.extend(["303", "401", "403", "503"]);
    }
    if endpoint.path == "/logout" {
        statuses.extend(["303", "403", "503"]);
    }
    if endpoint.path == "/readyz" {
        statuses.insert("503");
    }
    let responses: Map<String, Value> = statuses
        .into_iter()
        .map(|status| (status.to_owned(), response(endpoint, status)))
        .collect();
    let mut operation = json!({
        "summary": endpoint.summary,
        "operationId": operation_id(endpoint),
        "description": needs(endpoint.needs),
        "security": security,
        "parameters": parameters(endpoint),
        "responses": responses,
    });
    if !endpoint.takes.is_empty() {
        operation["requestBody"] = json!({"required": true, "content": content(endpoint.takes)});
    }
    operation
}

fn needs(needs: Needs) -> String {
    match needs {
        Needs::Nothing => "Open to everybody.".to_owned(),
        Needs::Source => "Needs a source's token or signature.".to_owned(),
        Needs::Operator(role) => format!("Needs an operator with the role {}.", role.name()),
        Needs::Session(role) => {
            format!(
                "Needs a signed-in operator with the role {}; a POST its CSRF token.",
                role.name()
            )
        }
    }
}

fn operation_id(endpoint: &Endpoint) -> String {
    let words: Vec<_> = endpoint
        .path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && *word != "v1")
        .collect();
    format!("{}_{}", endpoint.method, words.join("_"))
}

fn parameters(endpoint: &Endpoint) -> Vec<Value> {
    let path = endpoint.path.contains("{id}").then(
        || json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}),
    );
    let query = endpoint.query.iter().map(|name| {
        json!({"name": name, "in": "query", "required": false, "schema": parameter(endpoint, name)})
    });
    path.into_iter().chain(query).collect()
}

fn parameter(endpoint: &Endpoint, name: &str) -> Value {
    match name {
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": 500, "default": 50}),
        "period" => json!({"type": "string", "enum": rows::PERIODS}),
        "since" | "until" => json!({"type": "string", "format": "date-time"}),
        "outcome" => json!({"type": "string", "enum": Outcome::ALL.map(Outcome::name)}),
        "state" if endpoint.path == "/v1/escalations" => {
            json!({"type": "string", "enum": escalations::STATES})
        }
        "state" => json!({"type": "string", "enum": cases::STATES}),
        _ => json!({"type": "string"}),
    }
}

fn response(endpoint: &Endpoint, status: &str) -> Value {
    let good = status == "200" || status == "202" || endpoint.gives == "Readiness";
    // An ingest request of which nothing is acceptable is answered in the shape of an accepted one.
    let shaped = endpoint.gives == "Accepted" && (status == "409" || status == "422");
    let schema = match status {
        "303" => return json!({"description": "See the page that follows"}),
        _ if good || shaped => endpoint.gives,
        _ if endpoint.gives == "Html" => "Html",
        _ => "Error",
    };
    json!({"description": describe(status), "content": content(schema)})
}

fn describe(status: &str) -> &'static str {
    match status {
        "200" => "Done",
        "202" => "Durable",
        "400" => "The request is not as expected",
        "401" => "Nobody we know",
        "403" => "Not allowed to this operator or source",
        "404" => "No such thing",
        "409" => "It no longer applies",
        "413" => "Too large",
        "415" => "Not JSON",
        "422" => "Nothing of the request can ever be accepted",
        _ => "Cannot be made durable or answered now; see Retry-After",
    }
}

fn content(schema: &str) -> Value {
    match schema {
        "Html" => json!({"text/html": {"schema": {"type": "string"}}}),
        "Text" => json!({"text/plain": {"schema": {"type": "string"}}}),
        "Form" => json!({"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}),
        "Any" => json!({"application/json": {"schema": {"type": "object"}}}),
        name => {
            json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}})
        }
    }
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let time = json!({"type": ["string", "null"], "format": "date-time"});
    let severity = json!({"type": "string", "enum": Severity::ALL.map(Severity::name)});
    let words = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let maybe = json!({"type": ["string", "null"]});
    let number = json!({"type": "integer"});
    let ids = json!({"type": "array", "items": text});
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let list = |of: &str, name: &str| {
        let items =
            json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{of}")}});
        json!({"type": "object", "required": [name, "next"], "properties": {name: items, "next": maybe}})
    };
    // One count for each outcome.
    let mut rule = object(json!({
        "rule": text, "asked": number, "suppressed": ids,
        "median_answer_s": {"type": ["integer", "null"]}, "p95_answer_s": {"type": ["integer", "null"]},
    }));
    for outcome in Outcome::ALL {
        rule["properties"][outcome.name()] = number.clone();
    }
    let mut alert = object(json!({
        "id": text, "principal": text, "rule": text, "title": text, "description": text, "reason": text,
        "severity": severity, "occurred_at": time, "url": text, "context": words,
    }));
    alert["required"] = json!(["principal", "rule", "title"]);
    alert["additionalProperties"] = json!(false);
    json!({
        "Error": object(json!({"error": text})),
        "Alert": alert,
        "Alerts": {"oneOf": [
            {"$ref": "#/components/schemas/Alert"},
            {"type": "array", "maxItems": 1000, "items": {"$ref": "#/components/schemas/Alert"}},
        ]},
        "Accepted": object(json!({"accepted": ids, "duplicates": ids, "rejected": {
            "type": "array", "items": object(json!({"index": number, "error": text})),
        }})),
        "Case": object(json!({
            "id": text, "reference": text, "employee": maybe, "principal": text, "rule": text, "title": text,
            "severity": severity, "context": words, "state": {"type": "string", "enum": cases::STATES},
            "outcome": {"enum": Outcome::ALL.iter().map(|o| json!(o.name())).chain([Value::Null]).collect::<Vec<_>>()},
            "alerts": {"type": "array", "items": object(json!({"source": text, "id": text, "occurred_at": time}))},
            "count": number, "revision": number, "snoozed_by": maybe, "explanation": maybe, "factor": maybe,
            "opened_at": time, "asked_at": time, "deadline": time, "answered_at": time, "closed_at": time,
            "escalation": {"oneOf": [{"type": "null"}, object(json!({
                "state": {"type": "string", "enum": escalations::STATES}, "level": number,
                "acknowledged_by": maybe, "resolved_by": maybe, "reason": maybe,
            }))]},
            "timeline": {"type": "array", "items": object(json!({"at": time, "what": text, "who": text, "detail": text}))},
        })),
        "Cases": list("Case", "cases"),
        "Escalation": object(json!({
            "id": text, "kind": text, "case": maybe, "state": {"type": "string", "enum": escalations::STATES},
            "level": number, "round": number, "urgency": severity, "opened_at": time,
        })),
        "Escalations": list("Escalation", "escalations"),
        "Snooze": object(json!({
            "id": text, "employee": text, "rule": text, "context": words, "severity": severity,
            "case": text, "from": time, "until": time, "suppressed": number, "lengthened_at": maybe,
        })),
        "Snoozes": list("Snooze", "snoozes"),
        "Rollup": object(json!({
            "type": {"const": "rollup"}, "id": text, "period": {"type": "string", "enum": rows::PERIODS},
            "from": time, "to": time, "journal_heads": words, "rules": {"type": "array", "items": rule},
        })),
        "Rollups": list("Rollup", "rollups"),
        "Quarantined": object(json!({"id": text, "source": text, "at": time, "error": text})),
        "Quarantine": list("Quarantined", "quarantine"),
        "Reason": {"type": "object", "required": ["reason"], "properties": {"reason": text}},
        "Note": {"type": "object", "required": ["text"], "properties": {"text": text}},
        "Enrolment": object(json!({"otpauth_uri": text})),
        "LinkRequest": {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["chat", "enroll"]}}},
        "Link": object(json!({"url": text})),
        "Readiness": object(json!({"ready": {"type": "boolean"}, "failing": ids, "degraded": ids})),
    })
}
