//! The OpenAPI 3.1 document, generated from the table.
//!
//! Law: nothing about an endpoint is written here that its row does not say. The codes of a
//! refusal are those of the row plus those that its access, limit and input imply, and those that any
//! request may get before an endpoint is asked at all. Every status that can come is told.

use std::collections::BTreeMap;

use ::http::StatusCode;
use serde_json::{Map, Value, json};

use super::code::ErrorCode;
use super::error::Refusal;
use super::fresh;
use super::input::{Accepts, Offered};
use super::reply::Answer;
use super::row::{Access, KeysAsked, Mount, Row};
use super::shape::{COMPONENTS, Shapes};
use super::table::Table;

/// Whether calls under the API's prefix carry the keys of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Required,
    NotRequired,
}

/// The document for the endpoints of `table`, reached at `public_url`.
#[must_use]
pub fn document(table: &Table, public_url: &str, keys: Keys) -> Value {
    let mut writer = Writer { shapes: Shapes::default(), keys };
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for row in table.rows().iter().filter(|row| row.access() != Access::Page) {
        let operation = writer.operation(row);
        let methods = paths.entry(table.full_path(row)).or_default();
        methods.insert(row.method().as_str().to_ascii_lowercase(), operation);
    }
    let refusal = writer.shapes.outputs.subschema_for::<Refusal<'static>>();
    debug_assert!(refusal.get("$ref").is_some());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "description": "The built-in API of the gateway. Every refusal has the shape `Error`; its `code` is stable.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": public_url.trim_end_matches('/') }],
        "paths": paths,
        "components": {
            "schemas": writer.shapes.into_definitions(),
            "responses": early_responses(),
            "securitySchemes": {
                "accessToken": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The `access_token` that a login answered with." },
                "agentToken": { "type": "http", "scheme": "AgentBearer",
                    "description": "The `token` that minting answered with." },
                "applicationKey": { "type": "apiKey", "in": "header", "name": "X-Access-Key",
                    "description": "Which application calls." },
                "applicationSecret": { "type": "apiKey", "in": "header", "name": "X-Access-Secret",
                    "description": "Its secret; browsers leave it out and are known by their Origin." },
            },
        },
    })
}

struct Writer {
    shapes: Shapes,
    keys: Keys,
}

impl Writer {
    fn operation(&mut self, row: &Row) -> Value {
        let (accepts, answer) = row.describe(&mut self.shapes);
        let responses = self.responses(row, &accepts, &answer);
        let mut operation = json!({
            "operationId": row.operation(),
            "summary": row.summary(),
            "tags": [tag(row)],
            "security": self.security(row),
            "responses": responses,
        });
        let mut parameters = path_parameters(row);
        parameters.extend(organization_parameter(row));
        match accepts {
            Accepts::Nothing => {}
            Accepts::Query(offered) => parameters.extend(self.query_parameters(&offered)),
            Accepts::Body(offered) => {
                let content = json!({ "schema": offered.schema });
                operation["requestBody"] = json!({
                    "required": !offered.required.is_empty(),
                    "content": { "application/json": content, "application/x-www-form-urlencoded": content },
                });
            }
        }
        if !parameters.is_empty() {
            operation["parameters"] = Value::Array(parameters);
        }
        operation
    }

    fn security(&self, row: &Row) -> Value {
        let mut all = Map::new();
        if self.asks_keys(row) {
            all.insert("applicationKey".into(), json!([]));
            all.insert("applicationSecret".into(), json!([]));
        }
        match row.access() {
            Access::Open | Access::Page => {}
            Access::Person | Access::Permission(_) => drop(all.insert("accessToken".into(), json!([]))),
            Access::Agent => drop(all.insert("agentToken".into(), json!([]))),
            Access::PersonOrAgent => {
                all.insert("accessToken".into(), json!([]));
                return json!([all, { "agentToken": [] }]);
            }
        }
        match row.keys_asked() {
            _ if all.is_empty() => json!([]),
            KeysAsked::Yes => json!([all]),
            KeysAsked::No => json!([all, {}]),
        }
    }

    fn asks_keys(&self, row: &Row) -> bool {
        self.keys == Keys::Required && row.mount() == Mount::Api && row.access() != Access::Agent
    }

    fn responses(&mut self, row: &Row, accepts: &Accepts, answer: &Answer) -> Value {
        let mut responses = Map::new();
        let (status, content) = match answer {
            Answer::Json(status, schema) => {
                let content = json!({ "application/json": { "schema": schema } });
                (status, with_page(content, row.keys_asked()))
            }
            Answer::Other(status) => (status, json!({})),
        };
        let phrase = status.canonical_reason().unwrap_or("Success");
        responses.insert(status.as_str().to_owned(), json!({ "description": phrase, "content": content }));
        let own = match row.wording() {
            Some(wording) => json!((wording.schema)(&mut self.shapes.outputs)),
            None => refusal_shape(),
        };
        for (status, codes) in by_status(row, &self.codes(row, accepts)) {
            let is_early = EARLY.iter().any(|early| early.status == status);
            let shape = match row.wording() {
                // Before an endpoint is asked, nobody knows in whose words it refuses.
                Some(_) if is_early => json!({ "anyOf": [own, refusal_shape()] }),
                _ => own.clone(),
            };
            responses.insert(status.as_str().to_owned(), refusal(&codes, &shape, row.keys_asked()));
        }
        for early in EARLY {
            let shared = || json!({ "$ref": format!("{SHARED}{}", early.name) });
            responses.entry(early.status.as_str()).or_insert_with(shared);
        }
        Value::Object(responses)
    }

    fn codes(&self, row: &Row, accepts: &Accepts) -> Vec<ErrorCode> {
        use ErrorCode as C;
        let mut codes = row.declared_codes().to_vec();
        if self.asks_keys(row) {
            codes.push(C::AppAuthRequired);
        }
        // Keys that are sent must be right, also where none are asked for.
        if row.mount() != Mount::Root {
            codes.extend([C::AppAuthInvalid, C::AppAuthOriginRequired, C::AppAuthOriginDenied]);
        }
        match row.access() {
            Access::Open if row.mount() != Mount::Root => codes.push(C::AgentNotAllowed),
            Access::Open | Access::Page => {}
            Access::Person => codes.extend(SIGNED_IN),
            Access::Agent => codes.extend(AGENT),
            Access::PersonOrAgent => codes.extend(SIGNED_IN.into_iter().chain(AGENT)),
            Access::Permission(_) => codes.extend(SIGNED_IN.into_iter().chain([C::PermissionRequired])),
        }
        if fresh::is_asked(row) {
            codes.push(C::ReauthenticationRequired);
        }
        if row.access() != Access::Open {
            codes.push(row.code_when_anonymous());
        }
        // Who shows too many bad credentials waits, wherever one is looked at.
        if row.bucket().is_some() || row.access() != Access::Open {
            codes.push(C::RateLimited);
        }
        if row.is_in_organization() {
            codes.extend([C::OrgContextRequired, C::OrgNotFound, C::FeatureDisabled]);
        }
        match accepts {
            Accepts::Nothing => {}
            Accepts::Query(_) => codes.extend([C::BadRequest, C::ValidationError]),
            Accepts::Body(_) => {
                codes.extend([C::ParseError, C::ValidationError, C::BodyTooLarge, C::UnsupportedMediaType]);
            }
        }
        if row.mount() != Mount::Root {
            codes.push(C::ServiceUnavailable);
        }
        codes
    }

    fn query_parameters(&self, offered: &Offered) -> Vec<Value> {
        let properties = self.shapes.input(&offered.schema).get("properties").and_then(Value::as_object);
        let parameter = |(name, schema): (&String, &Value)| {
            let required = offered.required.contains(name);
            json!({ "name": name, "in": "query", "required": required, "schema": schema })
        };
        properties.into_iter().flatten().map(parameter).collect()
    }
}

/// What every endpoint for signed-in people may answer.
const SIGNED_IN: [ErrorCode; 5] = [
    ErrorCode::Unauthorized,
    ErrorCode::InsufficientScope,
    ErrorCode::AgentNotAllowed,
    ErrorCode::ApiKeyNotAllowed,
    ErrorCode::OrgNotFound,
];

/// What every endpoint for agents may answer.
const AGENT: [ErrorCode; 9] = [
    ErrorCode::TokenAppMismatch,
    ErrorCode::AirsDisabled,
    ErrorCode::AgentNotAllowed,
    ErrorCode::AgentTokenNotFound,
    ErrorCode::AgentTokenStatusSuspended,
    ErrorCode::AgentTokenStatusRevoked,
    ErrorCode::AgentTokenStatusExpired,
    ErrorCode::AgentTokenExpired,
    ErrorCode::AgentTokenHeartbeatMissing,
];

/// What a request may get before an endpoint is asked, whichever it is for.
#[derive(Debug)]
pub struct Early {
    pub status: StatusCode,
    pub codes: &'static [&'static str],
    /// What it is called in the document.
    name: &'static str,
}

/// All of them. The gate's own tests hold this list to what it refuses with.
#[rustfmt::skip]
pub const EARLY: &[Early] = &[
    Early { status: StatusCode::BAD_REQUEST, codes: &["BAD_REQUEST"], name: "Malformed" },
    Early { status: StatusCode::REQUEST_TIMEOUT, codes: &["REQUEST_TIMEOUT"], name: "RequestTimeout" },
    Early { status: StatusCode::PAYLOAD_TOO_LARGE, codes: &["BODY_TOO_LARGE"], name: "BodyTooLarge" },
    Early { status: StatusCode::URI_TOO_LONG, codes: &["URI_TOO_LONG"], name: "UriTooLong" },
    Early { status: StatusCode::EXPECTATION_FAILED, codes: &["EXPECTATION_FAILED"], name: "ExpectationFailed" },
    Early { status: StatusCode::MISDIRECTED_REQUEST, codes: &["MISDIRECTED_REQUEST"], name: "Misdirected" },
    Early { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, codes: &["HEADERS_TOO_LARGE"], name: "HeadersTooLarge" },
    Early { status: StatusCode::SERVICE_UNAVAILABLE, codes: &["GATEWAY_BUSY", "TOO_MANY_AT_ONCE"], name: "Busy" },
];

const SHARED: &str = "#/components/responses/";

fn early_responses() -> Value {
    let told = EARLY
        .iter()
        .map(|early| (early.name.to_owned(), refusal(early.codes, &refusal_shape(), KeysAsked::Yes)));
    Value::Object(told.collect())
}

fn refusal_shape() -> Value {
    json!({ "$ref": format!("{COMPONENTS}Error") })
}

fn refusal(codes: &[&str], shape: &Value, keys: KeysAsked) -> Value {
    let list: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let content = with_page(json!({ "application/json": { "schema": shape } }), keys);
    json!({ "description": list.join(", "), "content": content })
}

/// Who comes by a link reads a page.
fn with_page(mut content: Value, keys: KeysAsked) -> Value {
    if keys == KeysAsked::No {
        content["text/html"] = json!({ "schema": { "type": "string" } });
    }
    content
}

/// The codes by their status, and beside them those that any request may get with that status.
fn by_status(row: &Row, codes: &[ErrorCode]) -> BTreeMap<StatusCode, Vec<&'static str>> {
    let mut grouped: BTreeMap<StatusCode, Vec<&'static str>> = BTreeMap::new();
    let mut add = |status, word| {
        let list = grouped.entry(status).or_default();
        if !list.contains(&word) {
            list.push(word);
        }
    };
    for code in codes {
        match row.wording() {
            None => add(code.status(), code.as_str()),
            Some(wording) => {
                let said = (wording.said)(*code);
                let besides = (wording.besides)(*code).iter().copied();
                std::iter::once(said).chain(besides).for_each(|(status, word)| add(status, word));
            }
        }
    }
    for early in EARLY {
        // Alone it is told once for all endpoints, unless the words may be another system's.
        if row.wording().is_some() || grouped.contains_key(&early.status) {
            let list = grouped.entry(early.status).or_default();
            for code in early.codes {
                if !list.contains(code) {
                    list.push(code);
                }
            }
        }
    }
    grouped
}

fn path_parameters(row: &Row) -> Vec<Value> {
    let names = row.path().split(['{', '}']).skip(1).step_by(2);
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn organization_parameter(row: &Row) -> Option<Value> {
    row.is_in_organization().then(|| {
        json!({ "name": "X-Org-Slug", "in": "header", "required": true, "schema": { "type": "string" },
            "description": "Which organization, by its slug." })
    })
}

fn tag(row: &Row) -> &'static str {
    match row.mount() {
        Mount::Profile(name) => name,
        Mount::Root => "gateway",
        Mount::Api => row.path().split('/').find(|piece| !piece.is_empty()).unwrap_or("gateway"),
    }
}
