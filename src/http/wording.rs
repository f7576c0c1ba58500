//! `Wording`: refusals in the words of another system, whose clients a profile serves.
//!
//! Law: what is refused, and why, is decided before; a wording only says it again. It keeps the headers of the
//! refusal, and knows nothing that our own words do not say.

use std::fmt;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ::http::{Method, StatusCode};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::code::ErrorCode;
use super::reply::Reply;
use crate::base::Timestamp;

/// What was asked, as far as it matters for what is said.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// The path behind the profile's mount.
    pub path: &'a str,
    pub request_id: &'a str,
    /// The token of `Authorization: Bearer`, checked or not.
    pub bearer: Option<&'a str>,
    pub now: Timestamp,
}

impl fmt::Debug for Asked<'_> {
    /// The token is nobody's to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How another system words refusals.
#[derive(Clone, Copy, Debug)]
pub struct Wording {
    /// The status and the code that stand for one of ours.
    pub said: fn(ErrorCode) -> (StatusCode, &'static str),
    /// What else one of ours may become, as what was asked and refused decides.
    pub besides: fn(ErrorCode) -> &'static [(StatusCode, &'static str)],
    /// The status and body that stand for the body of one of our refusals.
    pub body: fn(StatusCode, &Value, &Asked<'_>) -> (StatusCode, Value),
    /// The shape of that body.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Wording {
    /// The same refusal in these words. What is no JSON of ours stays as it is.
    #[must_use]
    pub fn retell(&self, reply: Reply, asked: &Asked<'_>) -> Reply {
        if reply.status.is_success() {
            return reply;
        }
        let Ok(own) = serde_json::from_slice::<Value>(&reply.body) else { return reply };
        let (status, body) = (self.body)(reply.status, &own, asked);
        let mut told = Reply::json(status, &body);
        for (name, value) in &reply.headers {
            if name != CONTENT_TYPE && name != CONTENT_LENGTH && !told.headers.contains_key(name) {
                told.headers.append(name, value.clone());
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use ::http::header::{HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;
    use crate::http::ApiError;

    fn said(code: ErrorCode) -> (StatusCode, &'static str) {
        (StatusCode::IM_A_TEAPOT, code.as_str())
    }

    fn besides(_: ErrorCode) -> &'static [(StatusCode, &'static str)] {
        &[]
    }

    fn body(_: StatusCode, own: &Value, asked: &Asked<'_>) -> (StatusCode, Value) {
        (StatusCode::IM_A_TEAPOT, json!({ "why": own["code"], "where": asked.path }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<String>()
    }

    #[test]
    fn a_refusal_is_told_again_with_its_headers_and_an_answer_is_left_alone() {
        let wording = Wording { said, besides, body, schema };
        let now = Timestamp::from_millis(0);
        let asked = Asked { method: &Method::GET, path: "/a", request_id: "r", bearer: Some("secret"), now };
        let refused = ApiError::new(ErrorCode::RateLimited).retry_after(std::time::Duration::from_secs(9));
        let told = wording.retell(refused.into_reply("r"), &asked);
        let value: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!(
            (told.status, value),
            (StatusCode::IM_A_TEAPOT, json!({"why": "RATE_LIMITED", "where": "/a"}))
        );
        assert_eq!(told.headers.get(RETRY_AFTER), Some(&HeaderValue::from_static("9")));
        assert_eq!(told.headers.get_all(CONTENT_TYPE).iter().count(), 1);
        let good = wording.retell(Reply::json(StatusCode::OK, &json!({})), &asked);
        assert_eq!((good.status, &good.body[..]), (StatusCode::OK, &b"{}"[..]));
        let bare = wording.retell(Reply::empty(StatusCode::NOT_FOUND), &asked);
        assert_eq!(bare.status, StatusCode::NOT_FOUND);
        assert!(!format!("{asked:?}").contains("secret"));
    }
}
