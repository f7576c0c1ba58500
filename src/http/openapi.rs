//! The OpenAPI 3.1 document, generated from the table.
//!
//! Law: nothing about an endpoint is written here that its row does not say. The codes of a
//! refusal are those of the row plus those that its access, limit and input imply.

use std::collections::BTreeMap;

use ::http::StatusCode;
use serde_json::{Map, Value, json};

use super::code::ErrorCode;
use super::error::Refusal;
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
            Answer::Json(status, schema) => (status, json!({ "application/json": { "schema": schema } })),
            Answer::Other(status) => (status, json!({})),
        };
        let phrase = status.canonical_reason().unwrap_or("Success");
        responses.insert(status.as_str().to_owned(), json!({ "description": phrase, "content": content }));
        let schema = match row.wording() {
            Some(wording) => json!((wording.schema)(&mut self.shapes.outputs)),
            None => json!({ "$ref": format!("{COMPONENTS}Error") }),
        };
        for (status, codes) in by_status(row, &self.codes(row, accepts)) {
            let list: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
            let refusal = json!({
                "description": list.join(", "),
                "content": { "application/json": { "schema": schema } },
            });
            responses.insert(status.as_str().to_owned(), refusal);
        }
        Value::Object(responses)
    }

    fn codes(&self, row: &Row, accepts: &Accepts) -> Vec<ErrorCode> {
        use ErrorCode as C;
        let mut codes = row.declared_codes().to_vec();
        if self.asks_keys(row) {
            codes.extend([
                C::AppAuthRequired,
                C::AppAuthInvalid,
                C::AppAuthOriginRequired,
                C::AppAuthOriginDenied,
            ]);
        }
        match row.access() {
            Access::Open | Access::Page => {}
            Access::Person => codes.extend(SIGNED_IN),
            Access::Agent => codes.extend(AGENT),
            Access::PersonOrAgent => codes.extend(SIGNED_IN.into_iter().chain(AGENT)),
            Access::Permission(_) => codes.extend(SIGNED_IN.into_iter().chain([C::PermissionRequired])),
        }
        if row.access() != Access::Open {
            codes.push(row.code_when_anonymous());
        }
        if row.bucket().is_some() {
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
const SIGNED_IN: [ErrorCode; 4] = [
    ErrorCode::Unauthorized,
    ErrorCode::InsufficientScope,
    ErrorCode::AgentNotAllowed,
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
                let (status, word) = (wording.said)(*code);
                add(status, word);
                // What cannot be asked for at all keeps our own status.
                if *code == ErrorCode::ValidationError {
                    add(code.status(), word);
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
