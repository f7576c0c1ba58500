//! What fields of a body or a query promise.
//! Law: everything wrong is told at once, and what would grant something is never passed over.

use super::*;
use serde_json::json;

fn fields(value: Value) -> Fields {
    let Value::Object(map) = value else { unreachable!("an object") };
    Fields::new(map)
}

fn details(result: Result<(), ApiError>) -> Value {
    let reply = result.unwrap_err().into_reply("r");
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"], "Validation error");
    assert_eq!(body["code"], "VALIDATION_ERROR");
    body["details"].clone()
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let mut f = fields(json!({"email": "nonsense", "first_name": " ", "login": "maybe", "bio": 5,
        "language": null, "timezone": "a\u{0}b"}));
    assert!(f.required("email").email().is_none());
    assert!(f.required("password").secret().is_none());
    assert!(f.optional("first_name").text().is_none());
    assert!(f.optional("login").flag().is_none());
    assert!(f.optional("bio").text().is_none());
    assert!(f.optional("language").text().is_none());
    assert!(f.optional("timezone").text().is_none());
    assert!(f.optional("absent").text().is_none());
    f.problem(WHOLE, "Email or phone number is required");
    assert_eq!(
        details(f.finish(Unknown::Ignored)),
        json!({
            "email": ["Enter a valid email address."],
            "password": ["This field is required."],
            "first_name": ["This field may not be blank."],
            "login": ["Must be a valid boolean."],
            "bio": ["Not a valid string."],
            "language": ["This field may not be null."],
            "timezone": ["Null characters are not allowed."],
            "non_field_errors": ["Email or phone number is required"],
        })
    );
}

#[test]
fn flags_are_read_as_queries_write_them() {
    let mut f = fields(json!({"a": "YES", "b": "0", "c": true, "d": "false", "e": 1}));
    let mut flag = |name| f.optional(name).flag();
    assert_eq!(
        (flag("a"), flag("b"), flag("c"), flag("d")),
        (Some(true), Some(false), Some(true), Some(false))
    );
    assert_eq!((flag("e"), flag("absent")), (None, None));
    assert_eq!(details(f.finish(Unknown::Ignored)), json!({"e": ["Must be a valid boolean."]}));
}

#[test]
fn privileged_names_are_refused_where_they_are_not_offered() {
    for name in PRIVILEGED {
        let f = fields(json!({ name: true }));
        assert_eq!(details(f.finish(Unknown::Ignored)), json!({ name: ["Not offered here: nothing is."] }));
    }
    let mut f = fields(json!({"role": "admin"}));
    assert_eq!(f.required("role").text().as_deref(), Some("admin"));
    assert!(f.finish(Unknown::Ignored).is_ok());
}

#[test]
fn other_unknown_names_are_ignored_unless_the_row_is_strict() {
    assert!(fields(json!({"colour": 1})).finish(Unknown::Ignored).is_ok());
    let mut strict = fields(json!({"colour": 1, "role": "x"}));
    assert!(strict.optional("name").text().is_none() && strict.optional("code").text().is_none());
    assert!(!strict.is_null("name"));
    let told = "Not offered here. What is: name, code.";
    assert_eq!(
        details(strict.finish(Unknown::Refused)),
        json!({"colour": [told], "role": [told]}),
        "a name that would grant something is said to be none in the same words"
    );
}

#[test]
fn lengths_count_characters_and_secrets_stay_as_they_are() {
    let mut f = fields(json!({"a": "ééé", "b": "ééé", "c": " s\u{0}p ", "d": null, "e": null, "g": ""}));
    assert_eq!(f.required("a").max(3).text().as_deref(), Some("ééé"));
    assert!(f.required("b").max(2).text().is_none());
    assert_eq!(f.required("c").secret().unwrap().expose(), " s\u{0}p ");
    assert!(f.optional("d").or_null().text().is_none());
    assert_eq!(f.optional("e").json(), Some(Value::Null));
    assert_eq!(f.optional("g").or_blank().text().as_deref(), Some(""));
    assert_eq!(
        details(f.finish(Unknown::Refused)),
        json!({"b": ["Ensure this field has no more than 2 characters."]})
    );
}
