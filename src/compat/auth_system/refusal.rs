//! Refusals as the profile's clients read them: `{"error": {"code", "message", "details", …}}`.
//!
//! Law: 401 is only ever said of who calls, never of what they may, because these clients refresh their token and
//! try again for as long as they read 401. A value that is not possible is 422; what cannot be asked for at all (a
//! field that would grant something, an unknown filter) is 400, as everywhere in the gateway.

use ::http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::base::Timestamp;
use crate::crypto::digest::unbase64url;
use crate::http::fields::{NOT_OFFERED, WHOLE};
use crate::http::{ApiError, Asked, ErrorCode, Wording};

/// How refusals are worded.
pub(super) const WORDING: Wording = Wording { said, besides, body, schema };

/// What a client reads.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemError")]
struct Refusal {
    error: Told,
}

/// Why something was refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemRefusal")]
struct Told {
    /// What a program may branch on.
    code: String,
    /// For people.
    message: String,
    /// The fields that were refused, where fields were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
    /// RFC 3339, UTC.
    timestamp: String,
    request_id: String,
    /// In seconds, where coming back later helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// A field that was refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthSystemRefusedField")]
struct Detail {
    field: String,
    message: String,
}

fn schema(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Refusal>()
}

/// The status and code for one of ours. What the other system has no word for keeps ours.
pub(super) fn said(code: ErrorCode) -> (StatusCode, &'static str) {
    use ErrorCode as C;
    let status = code.status();
    match code {
        C::ValidationError
        | C::PasswordReused
        | C::PasswordBreached
        | C::PermissionsNotFound
        | C::RoleNotFound
        | C::ReauthRequired => (StatusCode::UNPROCESSABLE_ENTITY, "VALIDATION_ERROR"),
        C::BadRequest | C::ParseError => (StatusCode::BAD_REQUEST, "VALIDATION_ERROR"),
        C::LoginFailed | C::SecondFactorRequired | C::SecondFactorInvalid => {
            (status, "AUTHENTICATION_FAILED")
        }
        // Whoever called is known: the password that they gave beside is what was wrong.
        C::InvalidPassword => (StatusCode::BAD_REQUEST, "AUTHENTICATION_FAILED"),
        C::ResetFailed => (StatusCode::BAD_REQUEST, "TOKEN_INVALID"),
        C::RefreshFailed | C::Unauthorized | C::AuthRequired => (status, "TOKEN_INVALID"),
        C::InsufficientScope => (StatusCode::FORBIDDEN, "PASSWORD_EXPIRED"),
        C::AccountLocked => (status, "ACCOUNT_LOCKED"),
        C::RateLimited => (status, "RATE_LIMIT_EXCEEDED"),
        C::PermissionRequired | C::PermissionDenied | C::ApiKeyNotAllowed => (status, "PERMISSION_DENIED"),
        C::NotFound => (status, "RESOURCE_NOT_FOUND"),
        C::AlreadyLocked | C::NotLocked | C::LastSuperuser | C::LastAdministrator | C::SoleOwner => {
            (StatusCode::CONFLICT, "RESOURCE_CONFLICT")
        }
        other => (status, other.as_str()),
    }
}

/// What cannot be asked for at all is 400, and what somebody else has is a conflict.
const fn besides(code: ErrorCode) -> &'static [(StatusCode, &'static str)] {
    match code {
        ErrorCode::ValidationError => {
            &[(StatusCode::BAD_REQUEST, "VALIDATION_ERROR"), (StatusCode::CONFLICT, "RESOURCE_CONFLICT")]
        }
        _ => &[],
    }
}

/// The code and sentence of a refusal that is told within an answer.
pub(super) fn briefly(refused: &ApiError) -> (&'static str, String) {
    (said(refused.code()).1, refused.sentence().to_owned())
}

fn body(status: StatusCode, own: &Value, asked: &Asked<'_>) -> (StatusCode, Value) {
    let native = own["code"].as_str().unwrap_or_default();
    let known = ErrorCode::ALL.iter().find(|code| code.as_str() == native);
    let (mut status, mut code) = match known {
        Some(code) => said(*code),
        None => (status, by_status(status).unwrap_or(native)),
    };
    let details = details(&own["details"]);
    if known == Some(&ErrorCode::ValidationError) {
        status = status_of(own, asked);
        if is_taken(&own["details"]) {
            (status, code) = (StatusCode::CONFLICT, "RESOURCE_CONFLICT");
        }
    }
    if code == "TOKEN_INVALID" && status == StatusCode::UNAUTHORIZED && is_over(asked) {
        code = "TOKEN_EXPIRED";
    }
    let mut told = Map::new();
    told.insert("code".into(), json!(code));
    told.insert("message".into(), json!(message(own, code, known.copied())));
    if !details.is_empty() {
        told.insert("details".into(), Value::Array(details));
    }
    told.insert("timestamp".into(), json!(asked.now.rfc3339()));
    told.insert("request_id".into(), json!(asked.request_id));
    if let Some(wait) = own.get("retry_after") {
        told.insert("retry_after".into(), wait.clone());
    }
    (status, json!({ "error": told }))
}

fn message(own: &Value, code: &str, known: Option<ErrorCode>) -> String {
    let text = own["error"].as_str().unwrap_or_default();
    match known {
        Some(ErrorCode::ValidationError) if code == "RESOURCE_CONFLICT" => {
            texts(&own["details"]).next().map_or("", |(_, text)| text).to_owned()
        }
        Some(ErrorCode::InsufficientScope) => {
            "Change the password first, or set up the second factor that this account must have".to_owned()
        }
        Some(ErrorCode::ValidationError) => "Validation failed".to_owned(),
        _ if code == "RATE_LIMIT_EXCEEDED" => "Rate limit exceeded. Try again later.".to_owned(),
        _ => text.to_owned(),
    }
}

/// For refusals that are not of an endpoint.
fn by_status(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("TOKEN_INVALID"),
        StatusCode::FORBIDDEN => Some("PERMISSION_DENIED"),
        StatusCode::NOT_FOUND => Some("RESOURCE_NOT_FOUND"),
        StatusCode::TOO_MANY_REQUESTS => Some("RATE_LIMIT_EXCEEDED"),
        StatusCode::BAD_REQUEST => Some("VALIDATION_ERROR"),
        _ => None,
    }
}

fn status_of(own: &Value, asked: &Asked<'_>) -> StatusCode {
    let cannot_be_asked = texts(&own["details"]).any(|(_, text)| text.starts_with(NOT_OFFERED));
    let path = asked.path.trim_end_matches('/');
    // What a list is asked for is a filter, an order or a size, each of which is there or is not.
    let is_list = [&Method::GET, &Method::HEAD].contains(&asked.method)
        && ["/users", "/admin/users", "/audit/logs"].contains(&path);
    if cannot_be_asked || is_list || path == "/auth/login" {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

/// Whether what was wrong is that somebody else has it.
fn is_taken(details: &Value) -> bool {
    let mut all = texts(details).peekable();
    all.peek().is_some() && all.all(|(_, text)| text.ends_with("already exists."))
}

/// Each refused field with each message about it.
fn texts(details: &Value) -> impl Iterator<Item = (&str, &str)> {
    let fields = details.as_object().into_iter().flatten();
    fields.flat_map(|(field, messages)| {
        let list = messages.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(move |text| Some((field.as_str(), text.as_str()?)))
    })
}

fn details(own: &Value) -> Vec<Value> {
    let name = |field: &str| if field == WHOLE { "body".to_owned() } else { field.to_owned() };
    texts(own).map(|(field, message)| json!({ "field": name(field), "message": message })).collect()
}

/// Whether the token says itself that its time is over. Nothing is decided by it: the token was refused.
fn is_over(asked: &Asked<'_>) -> bool {
    let claims = || {
        let payload = asked.bearer?.split('.').nth(1)?;
        serde_json::from_slice::<Value>(&unbase64url(payload)?).ok()
    };
    let ends = claims().and_then(|claims| claims["exp"].as_i64());
    ends.is_some_and(|ends| Timestamp::from_millis(ends.saturating_mul(1000)) <= asked.now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::digest::base64url;

    fn asked<'a>(method: &'a Method, path: &'a str, bearer: Option<&'a str>) -> Asked<'a> {
        Asked { method, path, request_id: "r-1", bearer, now: Timestamp::from_millis(5_000) }
    }

    fn told(code: &str, details: &Value, asked: &Asked<'_>) -> (u16, Value) {
        let own = json!({"error": "text", "code": code, "details": details, "request_id": "r-1"});
        let status = ErrorCode::ALL.iter().find(|known| known.as_str() == code).map(|known| known.status());
        let (status, body) = body(status.unwrap_or(StatusCode::IM_A_TEAPOT), &own, asked);
        (status.as_u16(), body["error"].clone())
    }

    #[test]
    fn a_value_is_422_and_what_cannot_be_asked_is_400_with_its_field() {
        let users = asked(&Method::POST, "/users", None);
        let (status, error) =
            told("VALIDATION_ERROR", &json!({"email": ["Enter a valid email address."]}), &users);
        assert_eq!((status, &error["code"]), (422, &json!("VALIDATION_ERROR")));
        assert_eq!(error["details"], json!([{"field": "email", "message": "Enter a valid email address."}]));
        assert_eq!(
            (&error["request_id"], &error["timestamp"]),
            (&json!("r-1"), &json!("1970-01-01T00:00:05.000000Z"))
        );
        let text = format!("{NOT_OFFERED}. What is: email.");
        let (status, error) = told("VALIDATION_ERROR", &json!({"is_superuser": [text]}), &users);
        assert_eq!((status, &error["details"][0]["field"]), (400, &json!("is_superuser")));
        let entry = asked(&Method::POST, "/auth/login/", None);
        assert_eq!(told("VALIDATION_ERROR", &json!({"email": ["x"]}), &entry).0, 400);
        let list = asked(&Method::GET, "/users", None);
        assert_eq!(told("VALIDATION_ERROR", &json!({"sort": ["x"]}), &list).0, 400);
        let head = asked(&Method::HEAD, "/audit/logs/", None);
        assert_eq!(told("VALIDATION_ERROR", &json!({"action": ["x"]}), &head).0, 400);
        for path in ["/audit/logs/export", "/stats/users"] {
            let file = asked(&Method::GET, path, None);
            assert_eq!(told("VALIDATION_ERROR", &json!({"format": ["x"]}), &file).0, 422, "{path}");
            let text = format!("{NOT_OFFERED}. What is: format.");
            assert_eq!(told("VALIDATION_ERROR", &json!({ "size": [text] }), &file).0, 400, "{path}");
        }
        let taken = json!({"email": ["A user with that email already exists."]});
        let (status, error) = told("VALIDATION_ERROR", &taken, &users);
        assert_eq!((status, &error["code"]), (409, &json!("RESOURCE_CONFLICT")));
    }

    #[test]
    fn only_who_calls_is_told_401() {
        let here = asked(&Method::GET, "/users", None);
        for code in ErrorCode::ALL {
            let (status, error) = told(code.as_str(), &json!({}), &here);
            let is_about_the_caller = code.status() == StatusCode::UNAUTHORIZED;
            assert!(status != 401 || is_about_the_caller, "{code:?} {error}");
            assert!(!error["code"].as_str().unwrap().is_empty());
        }
        assert_eq!(told("INVALID_PASSWORD", &json!({}), &here).0, 400);
        assert_eq!(told("PERMISSION_REQUIRED", &json!({}), &here).0, 403);
    }

    #[test]
    fn a_token_that_says_so_is_over() {
        let token = |exp: i64| format!("h.{}.s", base64url(json!({ "exp": exp }).to_string().as_bytes()));
        for (exp, code) in [(4, "TOKEN_EXPIRED"), (6, "TOKEN_INVALID")] {
            let token = token(exp);
            let here = asked(&Method::GET, "/users", Some(&token));
            assert_eq!(told("UNAUTHORIZED", &json!({}), &here).1["code"], code);
        }
        for token in ["", "x", "a.b.c", "..", "h.e30.s"] {
            let here = asked(&Method::GET, "/users", Some(token));
            assert_eq!(told("UNAUTHORIZED", &json!({}), &here).1["code"], "TOKEN_INVALID");
        }
    }
}
