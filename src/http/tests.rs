//! The kernel as a slice uses it: rows, a table, and handlers that run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ::http::{Method, StatusCode, header};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::cookie::Cookies;
use super::*;
use crate::app::App;
use crate::app::testing::TestApp;
use crate::base::{Email, Secret};

#[derive(JsonSchema)]
struct Login {
    #[schemars(with = "String")]
    email: Email,
    password: Secret<String>,
}

impl FromFields for Login {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email").email();
        let password = fields.required("password").secret();
        Some(Self { email: email?, password: password? })
    }
}

#[derive(Serialize, JsonSchema)]
struct Welcome {
    email: String,
}

async fn login(_: Call, Json(body): Json<Login>) -> Result<Json<Welcome>, ApiError> {
    if body.password.expose() == "right" {
        Ok(Json(Welcome { email: body.email.to_string() }))
    } else {
        Err(ApiError::new(ErrorCode::LoginFailed))
    }
}

async fn show(call: Call, _: Nothing) -> Result<Json<Welcome>, ApiError> {
    Ok(Json(Welcome { email: call.param("id")?.to_owned() }))
}

async fn remove(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn table() -> Table {
    Table::new(
        "/api/",
        vec![
            post("/login/", login).open().limit(Bucket::Login).about("Log in"),
            post("/strict/", login).open().strict().about("Log in, with nothing else"),
            get("/people/{id}/", show).person().about("One person"),
            del("/people/{id}/", remove).allow("people.delete").about("Remove a person"),
            get("/health/", remove).open().at_root().about("Alive"),
        ],
    )
}

fn head() -> CallHead {
    CallHead {
        request_id: "r-1".to_owned(),
        method: Method::POST,
        path: "/api/login/".to_owned(),
        params: Vec::new(),
        query: String::new(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: None,
        origin: None,
        org_slug: None,
        cookies: Cookies::default(),
        idempotency_key: None,
        agent: None,
        bearer: None,
    }
}

async fn app() -> Arc<App> {
    TestApp::new().await.app.clone()
}

async fn send(path: &str, content_type: Option<&str>, body: impl Into<Bytes>) -> (StatusCode, Value) {
    let table = table();
    let Found::Row(row, params) = table.find(&Method::POST, path) else { panic!("{path} is a row") };
    let call =
        Call { app: app().await, principal: None, application: None, head: CallHead { params, ..head() } };
    let body = Body { content_type: content_type.map(str::to_owned), bytes: body.into() };
    let reply = row.answer(call, body).await;
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    (reply.status, serde_json::from_slice(&reply.body).unwrap())
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn json_and_forms_are_read_alike() {
    let body = r#"{"email":"A@b.c","password":"right"}"#;
    for content_type in ["application/json", "Application/JSON; charset=\"UTF-8\""] {
        assert_eq!(
            send("/api/login", Some(content_type), body).await,
            (StatusCode::OK, json!({"email":"a@b.c"}))
        );
    }
    let form = Some("application/x-www-form-urlencoded");
    assert_eq!(send("/api/login/", form, "email=a%40b.c&password=right").await.0, StatusCode::OK);
    assert_eq!(send("/api/login/", form, "email=a&email=b").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let body = r#"{"email":"a@b.c","password":"right"}"#;
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/json; charset=utf-16"),
        Some("application/jsonp"),
        Some("multipart/form-data; boundary=x"),
    ] {
        let (status, answer) = send("/api/login/", content_type, body).await;
        assert_eq!(
            (status.as_u16(), &answer["code"]),
            (415, &json!("UNSUPPORTED_MEDIA_TYPE")),
            "{content_type:?}"
        );
        assert!(answer["error"].as_str().unwrap().contains("Content-Type: application/json"), "{answer}");
    }
}

#[tokio::test]
async fn json_that_is_called_a_form_is_told_which_header_it_lacks() {
    let form = Some("application/x-www-form-urlencoded");
    for body in [r#"{"email":"a@b.c","password":"right"}"#, "\n {}"] {
        let (status, answer) = send("/api/login/", form, body).await;
        assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("PARSE_ERROR")), "{body}");
        assert!(answer["error"].as_str().unwrap().contains("Content-Type: application/json"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_of_the_wrong_shape_are_refused_with_the_reason() {
    let (status, answer) = send("/api/login/", JSON, "[]").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["details"], json!({"non_field_errors": ["Invalid data. Expected an object."]}));

    let (status, answer) = send("/api/login/", JSON, r#"{"email":"a","email":"b"}"#).await;
    assert_eq!((status.as_u16(), &answer["code"]), (400, &json!("PARSE_ERROR")));

    let (status, answer) = send("/api/login/", None, "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let required = json!(["This field is required."]);
    assert_eq!(answer["details"], json!({"email": required, "password": required}));

    let (status, answer) = send("/api/login/", JSON, vec![b' '; input::MAX_BODY + 1]).await;
    assert_eq!((status.as_u16(), &answer["code"]), (413, &json!("BODY_TOO_LARGE")));
}

#[tokio::test]
async fn a_refusal_names_its_code_and_request() {
    let (status, answer) = send("/api/login/", JSON, r#"{"email":"a@b.c","password":"wrong"}"#).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer,
        json!({"error": "Invalid email or password", "code": "LOGIN_FAILED", "details": {}, "request_id": "r-1"})
    );
}

/// The first thing that is said about a field.
fn first_of(answer: &Value, field: &str) -> String {
    answer["details"][field][0].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn fields_that_are_not_offered_are_refused_when_they_would_grant_something() {
    let body = r#"{"email":"a@b.c","password":"right","is_superuser":true,"colour":"red"}"#;
    let (_, answer) = send("/api/login/", JSON, body).await;
    assert!(
        first_of(&answer, "is_superuser").starts_with("Not offered here. What is: email, password"),
        "{answer}"
    );
    assert_eq!(answer["details"].as_object().map(serde_json::Map::len), Some(1), "colour is ignored");
    let (_, answer) = send("/api/strict/", JSON, body).await;
    assert!(first_of(&answer, "colour").starts_with("Not offered here. What is: "), "{answer}");
}

#[test]
fn a_path_is_found_with_and_without_its_last_slash() {
    let table = table();
    for path in ["/api/people/7", "/api/people/7/"] {
        let Found::Row(row, params) = table.find(&Method::HEAD, path) else { panic!("{path}") };
        assert_eq!((row.access(), params), (Access::Person, vec![("id", "7".to_owned())]));
    }
    assert!(matches!(table.find(&Method::GET, "/health"), Found::Row(..)));
    for path in
        ["/", "", "/api", "/api/people", "/api/people//", "/api/people/7/8", "/people/7", "/api/login//"]
    {
        assert!(matches!(table.find(&Method::GET, path), Found::Nothing), "{path}");
    }
}

#[test]
fn a_known_path_tells_its_methods() {
    let table = table();
    let Found::OtherMethods(allow) = table.find(&Method::PATCH, "/api/people/7/") else { panic!("405") };
    assert_eq!(allow, "DELETE, GET, HEAD");
    let Found::OtherMethods(allow) = table.find(&Method::GET, "/api/login") else { panic!("405") };
    assert_eq!(allow, "POST");
}

#[test]
fn operations_are_named_after_method_and_path() {
    let names: Vec<String> = table().rows().iter().map(Row::operation).collect();
    assert_eq!(names, ["post_login", "post_strict", "get_people_id", "delete_people_id", "get_health"]);
}

#[test]
fn the_laws_find_what_a_careless_row_breaks() {
    let careless = Table::new(
        "/api",
        vec![post("/a/", login).open(), post("/a/", login).person().about("A").unaudited("only reads")],
    );
    let found = law::breaches(&careless).join("\n");
    for expected in ["declared twice", "operation post_a twice", "nothing about itself", "neither audited"] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    let careful = Table::new("/api", vec![post("/a/", login).person().about("A").unaudited("only reads")]);
    assert_eq!(law::breaches(&careful), Vec::<String>::new());
}

/// Every `$ref` in the document, with the place it stands at.
fn references(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let ("$ref", Value::String(target)) = (key.as_str(), value) {
                    found.push((at.to_owned(), target.clone()));
                }
                references(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                references(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_document_is_whole() {
    let document = openapi::document(&table(), "https://gw.example.com/", openapi::Keys::Required);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "https://gw.example.com");
    let mut found = Vec::new();
    references(&document, "", &mut found);
    assert!(!found.is_empty());
    for (at, target) in found {
        let pointer = target.strip_prefix('#').expect("a local reference");
        assert!(document.pointer(pointer).is_some(), "{at} -> {target}");
    }
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            for early in openapi::EARLY {
                let text = told(&document, &responses[early.status.as_str()]).unwrap();
                assert!(early.codes.iter().all(|code| text.contains(code)), "{method} {path} {text}");
            }
            for alternative in operation["security"].as_array().unwrap() {
                assert!(alternative.as_object().unwrap().keys().all(|name| schemes.contains_key(name)));
            }
        }
    }
}

/// What is said of a response, there or where it refers to.
fn told<'a>(document: &'a Value, response: &'a Value) -> Option<&'a str> {
    let told = response["$ref"].as_str().map_or(Some(response), |target| document.pointer(&target[1..]))?;
    told["description"].as_str()
}

#[test]
fn an_operation_says_what_its_row_says() {
    let document = openapi::document(&table(), "https://gw.example.com", openapi::Keys::Required);
    let login = &document["paths"]["/api/login/"]["post"];
    assert_eq!(login["security"], json!([{"applicationKey": [], "applicationSecret": []}]));
    assert!(login["responses"]["429"]["description"].as_str().unwrap().contains("RATE_LIMITED"));
    let body = &document["components"]["schemas"]["Login"];
    assert_eq!(body["required"], json!(["email", "password"]));
    let person = &document["paths"]["/api/people/{id}/"];
    assert_eq!(person["get"]["parameters"][0]["name"], "id");
    assert_eq!(person["get"]["security"][0]["accessToken"], json!([]));
    assert!(
        person["delete"]["responses"]["403"]["description"].as_str().unwrap().contains("PERMISSION_REQUIRED")
    );
    let tells = |of: &Value, status: &str, code: &str| {
        told(&document, &of["responses"][status]).is_some_and(|text| text.contains(code))
    };
    for (status, code) in [
        ("400", "BAD_REQUEST"),
        ("401", "APP_AUTH_INVALID"),
        ("403", "API_KEY_NOT_ALLOWED"),
        ("429", "RATE_LIMITED"),
    ] {
        assert!(tells(&person["delete"], status, code), "{status} {code}");
    }
    assert!(tells(login, "403", "AGENT_NOT_ALLOWED"), "an agent is refused by an open endpoint, too");
    assert_eq!(document["paths"]["/health/"]["get"]["security"], json!([]));
}

#[tokio::test]
async fn the_pages_ask_no_other_origin_for_anything() {
    let table = Table::new("/api", page::rows(&json!({"openapi": "3.1.0"})));
    for path in ["/docs", "/redoc/", "/docs/docs.js", "/openapi.json", "/redoc/redoc.standalone.js"] {
        let Found::Row(row, params) = table.find(&Method::GET, path) else { panic!("{path}") };
        let call = Call {
            app: app().await,
            principal: None,
            application: None,
            head: CallHead { params, ..head() },
        };
        let reply = row.answer(call, Body::default()).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert!(
            memchr::memmem::find(&reply.body, b"cdn.redoc.ly").is_none(),
            "{path} has a picture elsewhere"
        );
        if reply.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/html") {
            let html = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(
                !html.contains("http://") && !html.contains("https://") && !html.contains("<script>"),
                "{path}"
            );
            let policy = reply.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'") && policy.contains("script-src 'self';"),
                "{policy}"
            );
            for piece in html.split(['"']).filter(|piece| piece.starts_with('/')) {
                assert!(matches!(table.find(&Method::GET, piece), Found::Row(..)), "{piece} is not served");
            }
        }
    }
}

#[tokio::test]
async fn a_cookie_is_believed_only_from_our_own_origin() {
    let app = app().await;
    let check = |method: Method, origin: Option<&str>| {
        let application = crate::principal::ApplicationFacts {
            id: crate::base::Id::from_u128(1),
            number: crate::base::Number(1),
            name: "web".into(),
            allowed_origins: vec!["https://app.example.com".to_owned()].into(),
        };
        let head = CallHead { method, origin: origin.map(str::to_owned), ..head() };
        let call = Call { app: app.clone(), principal: None, application: Some(application.into()), head };
        csrf::check(&call, "https://gw.example.com/base").map_err(|error| error.code())
    };
    assert_eq!(check(Method::POST, Some("https://gw.example.com")), Ok(()));
    assert_eq!(check(Method::POST, Some("https://app.example.com")), Ok(()));
    assert_eq!(check(Method::GET, None), Ok(()));
    for origin in [
        None,
        Some("null"),
        Some("http://gw.example.com"),
        Some("https://gw.example.com:8443"),
        Some("https://gw.example.com.evil.com"),
        Some("https://evil.example.com"),
        Some(""),
    ] {
        assert_eq!(check(Method::POST, origin), Err(ErrorCode::CsrfFailed), "{origin:?}");
    }
}
