//! Logging in with a code by text message on the running gateway, and what its person sees of it.
//! Law: a session that was ended opens nothing from the next request on.

use std::time::Duration;

use portcullis::base::{Id, Phone};
use portcullis::factor::Seed;
use serde_json::{Value, json};

use crate::codes::{Post, code_in, text_of};
use crate::support::people::{PASSWORD, User};
use crate::support::raw::Answer;

fn phone(more: &Value) -> Value {
    let mut body = json!({"phone_country_code": "33", "phone_number": "612345678"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

impl Post {
    /// The code that comes as the text message with this number.
    async fn code_to_log_in(&self, number: usize) -> String {
        self.clock.advance(Duration::from_secs(61));
        let asked = self.call(None, "/login/otp/request/", phone(&json!({}))).await;
        assert_eq!(asked.status, 200, "{}", asked.text());
        let code = code_in(&self.message(number).await.1);
        assert!(!asked.text().contains(&code));
        code
    }

    async fn enter(&self, code: &str, device: &str) -> Answer {
        let body = phone(&json!({"otp_code": code, "device_info": device}));
        self.call(None, "/login/otp/verify/", body).await
    }

    async fn ask(&self, method: &str, path: &str, user: &User) -> Answer {
        let lines = [&self.keys.lines()[..], &[user.bearer()]].concat();
        self.gateway.call(method, path, &lines, &Value::Null).await
    }
}

fn user_of(answer: &Answer) -> User {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let text = |key: &str| told[key].as_str().expect("a token").to_owned();
    User { id: Id::from_u128(0), access: text("access_token"), refresh: text("refresh_token") }
}

#[tokio::test]
async fn somebody_without_a_password_logs_in_by_text_message_ends_sessions_and_sets_one() {
    let post = Post::start("login: { otp: { log_in: true } }\n").await;
    post.gateway
        .account("ada", |new| {
            (new.password_hash, new.phone) = (None, Some(Phone::parse("+33612345678").unwrap()));
        })
        .await;
    let code = post.code_to_log_in(1).await;
    let first = user_of(&post.enter(&code, "v=1|os=linux|device=desktop").await);
    let again = post.enter(&code, "v=1|os=linux|device=desktop").await;
    assert_eq!((again.status, again.code().as_str()), (401, "OTP_INVALID"), "once");
    let code = post.code_to_log_in(2).await;
    let second = user_of(&post.enter(&code, "v=1|os=android|device=mobile").await);
    let letter = post.letter(1).await;
    assert!(text_of(&letter).contains("on a new device"), "{}", letter.text);

    let list = post.ask("GET", "/sessions/", &second).await.json();
    let told: Vec<_> = list.as_array().unwrap().iter().map(|one| one["is_current"].clone()).collect();
    assert_eq!(told, [json!(true), json!(false)]);
    let other = format!("/sessions/{}/", list[1]["id"].as_str().unwrap());
    assert_eq!(post.ask("GET", "/me/", &first).await.status, 200);
    assert_eq!(post.ask("DELETE", &other, &second).await.status, 200);
    assert_eq!(post.ask("GET", "/me/", &first).await.status, 401, "with the token that it had");
    let refused = post.call(None, "/refresh/", json!({"refresh_token": first.refresh})).await;
    assert_eq!(refused.code(), "REFRESH_FAILED");

    let code = post.code_to_log_in(3).await;
    let body = json!({"otp_code": code, "new_password": PASSWORD});
    let set = post.call(Some(&second), "/password/set-initial/", body).await;
    assert_eq!(set.status, 200, "{}", set.text());
    assert_eq!(post.ask("GET", "/me/", &second).await.status, 401, "every session ends");
    let entered = post.gateway.log_in("ada", Id::from_u128(0), &post.keys).await;
    assert_eq!(post.ask("GET", "/devices/", &entered).await.json().as_array().map(Vec::len), Some(1));
    let trail = post.codes_of_the_trail().await;
    for code in ["login_code_requested", "new_device_detected", "session_ended", "password_change"] {
        assert!(trail.iter().any(|found| found == code), "{code} in {trail:?}");
    }
}

#[tokio::test]
async fn a_code_that_was_sent_stands_for_the_password_where_it_is_asked_for_again() {
    let post = Post::start("login: { otp: { log_in: true } }\n").await;
    let id = post.gateway.account("ada", |new| new.phone = Some(Phone::parse("+33612345678").unwrap())).await;
    let ada = post.gateway.log_in("ada", id, &post.keys).await;
    let told = |answer: &Answer| (answer.status, answer.code());
    let new = "Another-horse-7-staple";
    let change = async |body: Value| post.call(Some(&ada), "/password/change/", body).await;
    let none = change(json!({"new_password": new})).await;
    assert_eq!(told(&none), (400, "REAUTH_REQUIRED".to_owned()));
    assert_eq!(none.json()["error"], "Current password or a valid OTP code is required");
    let code = post.code_to_log_in(1).await;
    let other = if code == "000000" { "000001" } else { "000000" };
    let wrong = change(json!({"otp_code": other, "new_password": new})).await;
    assert_eq!(told(&wrong), (400, "OTP_REQUIRED".to_owned()));
    // A password that is given and wrong is not helped by a code, which is not looked at.
    let both = change(json!({"current_password": "wrong", "otp_code": code, "new_password": new})).await;
    assert_eq!(told(&both), (400, "INVALID_PASSWORD".to_owned()));
    let weak = change(json!({"otp_code": code, "new_password": "short"})).await;
    assert_eq!(told(&weak), (400, "VALIDATION_ERROR".to_owned()));
    let uses = (0..4).map(|n| change(json!({"otp_code": code, "new_password": format!("{new}{n}")})));
    let answers = futures::future::join_all(uses).await;
    let won: Vec<usize> = (0..4).filter(|n| answers[*n].status == 200).collect();
    assert_eq!(won.len(), 1, "once: {:?}", answers.iter().map(told).collect::<Vec<_>>());
    assert_eq!(post.ask("GET", "/me/", &ada).await.status, 401, "every session ends");
    let body = json!({"email": "ada@example.com", "password": format!("{new}{}", won[0])});
    assert_eq!(post.call(None, "/login/email/", body).await.status, 200);
}

#[tokio::test]
async fn a_second_factor_is_turned_off_with_a_code_in_place_of_a_password_that_nobody_has() {
    let post = Post::start("login: { otp: { log_in: true } }\n").await;
    post.gateway
        .account("ada", |new| {
            (new.password_hash, new.phone) = (None, Some(Phone::parse("+33612345678").unwrap()));
        })
        .await;
    let code = post.code_to_log_in(1).await;
    let ada = user_of(&post.enter(&code, "v=1|os=linux|device=desktop").await);
    let begun = post.call(Some(&ada), "/2fa/setup/", json!({})).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let seed = Seed::parse(begun.json()["secret"].as_str().unwrap()).unwrap();
    let now = || seed.code_at(post.gateway.running.app.now()).expose().clone();
    let ada = user_of(&post.call(Some(&ada), "/2fa/confirm/", json!({"code": now()})).await);
    let off = async |body: Value| post.call(Some(&ada), "/2fa/disable/", body).await;
    let code = post.code_to_log_in(2).await;
    let other = if code == "000000" { "000001" } else { "000000" };
    for (body, expected) in [
        (json!({"otp_code": code}), "CODE_REQUIRED"),
        (json!({"code": now()}), "PASSWORDLESS_ACCOUNT_USE_SET_INITIAL_PASSWORD"),
        (json!({"code": now(), "otp_code": other}), "OTP_REQUIRED"),
        (json!({"code": "000000", "otp_code": code}), "INVALID_CODE"),
    ] {
        assert_eq!(off(body).await.code(), expected);
    }
    let done = off(json!({"code": now(), "otp_code": code})).await;
    assert_eq!((done.status, &done.json()["is_enabled"]), (200, &json!(false)), "{}", done.text());
    let again =
        post.call(Some(&ada), "/password/set-initial/", json!({"otp_code": code, "new_password": PASSWORD}));
    assert_eq!(again.await.code(), "OTP_REQUIRED", "it was used up");
}

#[tokio::test]
async fn a_code_for_a_number_that_is_not_theirs_any_more_stands_for_nothing() {
    let post = Post::start("login: { otp: { log_in: true } }\n").await;
    let id = post.gateway.account("ada", |new| new.phone = Some(Phone::parse("+33612345678").unwrap())).await;
    let ada = post.gateway.log_in("ada", id, &post.keys).await;
    let code = post.code_to_log_in(1).await;
    let lines = [&post.keys.lines()[..], &[ada.bearer()]].concat();
    let wish = json!({"phone_country_code": "33", "phone_number": "698765432", "current_password": PASSWORD});
    assert_eq!(post.gateway.call("PATCH", "/me/", &lines, &wish).await.status, 200);
    let confirm = json!({"code": code_in(&post.message(2).await.1)});
    assert_eq!(post.call(Some(&ada), "/otp/verify/phone/", confirm).await.status, 200);
    let body = json!({"otp_code": code, "new_password": "Another-horse-7-staple"});
    let refused = post.call(Some(&ada), "/password/change/", body).await;
    assert_eq!((refused.status, refused.code()), (400, "OTP_REQUIRED".to_owned()));
}
