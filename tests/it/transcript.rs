//! The examples of the contract (sections 8, 11, 12, 14 to 18, 20 and 23), sent as a client sends them and
//! compared field by field.
//! Law: a field that the contract shows is there, with the type that it has there; words that a client may
//! look for are these words. More fields may be.

use std::time::Duration;

use portcullis::base::Id;
use portcullis::factor::Seed;
use serde_json::{Value, json};

use crate::codes::{Post, code_in, text_of};
use crate::support::people::{User, elsewhere};
use crate::support::raw::Answer;

pub const PASSWORD: &str = "SecureP@ss1!x";
const OTHER: &str = "An0ther-P@ss!y";
const YAML: &str = "login: { otp: { log_in: true }, magic_link: { targets: ['https://app.example.com/enter'] }, \
                    passkeys: { rp_id: example.com, origins: ['https://app.example.com'] } }\n";

/// The user object; what is null may be a text.
pub fn user() -> Value {
    json!({
        "id": "1", "email": null, "username": null, "phone": null, "avatar": null, "bio": "", "timezone": "",
        "language": "", "first_name": "", "last_name": "", "is_active": true, "is_email_verified": "flag",
        "is_phone_verified": "flag", "is_2fa_enabled": "flag", "created_at": "2026-11-20T10:23:04.004333Z",
        "updated_at": "2026-11-20T10:23:04.004370Z", "last_login": null, "custom_fields": null,
        "preferences": {"email_notifications": true, "sms_notifications": false, "marketing_emails": false},
        "roles": [], "permissions": [],
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Compares what came with what the contract shows. A text that begins with `=` is meant to the letter, one
/// that is `flag` is either flag; null stands for anything; a list shows what all of its members are like.
pub fn like(place: &str, shown: &Value, came: &Value) {
    match (shown, came) {
        (Value::Null, _) => {}
        (Value::String(word), Value::Bool(_)) if word == "flag" => {}
        (Value::String(word), Value::String(text)) if word.starts_with('=') => {
            assert_eq!(text, &word[1..], "{place}");
        }
        (Value::Bool(one), Value::Bool(other)) => assert_eq!(one, other, "{place}"),
        (Value::Object(fields), Value::Object(all)) => {
            for (name, shown) in fields {
                let came = all.get(name).unwrap_or_else(|| panic!("{place}: no {name} in {came}"));
                like(&format!("{place}.{name}"), shown, came);
            }
        }
        (Value::Array(shown), Value::Array(all)) => {
            if let Some(shown) = shown.first() {
                assert!(!all.is_empty(), "{place} is empty");
                for one in all {
                    like(&format!("{place}[]"), shown, one);
                }
            }
        }
        _ => assert_eq!(kind(shown), kind(came), "{place}: {came}"),
    }
}

pub struct Client {
    pub post: Post,
    pub user: Option<User>,
}

impl Client {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let mut lines = [&self.post.keys.lines()[..], &[elsewhere()]].concat();
        lines.extend(self.user.as_ref().map(User::bearer));
        self.post.gateway.call(method, path, &lines, body).await
    }

    /// Sends it, and compares what comes.
    pub async fn says(&self, line: &str, body: Value, status: u16, shown: Value) -> Value {
        let (method, path) = line.split_once(' ').expect("a method and a path");
        let answer = self.send(method, path, &body).await;
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.text());
        let came = if answer.text().is_empty() { Value::Null } else { answer.json() };
        like(line, &shown, &came);
        came
    }

    pub async fn refused(&self, line: &str, body: Value, status: u16, error: &str, code: &str) {
        let shown = json!({"error": format!("={error}"), "code": format!("={code}")});
        self.says(line, body, status, shown).await;
    }

    fn is(&mut self, entered: &Value) {
        let text = |key: &str| entered[key].as_str().expect("a token").to_owned();
        let user =
            User { id: Id::from_u128(0), access: text("access_token"), refresh: text("refresh_token") };
        self.user = Some(user);
    }
}

fn tokens() -> Value {
    json!({"access_token": "<JWT>", "refresh_token": "x", "token_type": "=Bearer", "expires_in": 3600, "refresh_expires_in": 86400})
}

fn entered() -> Value {
    let mut all = tokens();
    let more = json!({"device_summary": null, "user": user(), "requires_2fa": "flag", "session_id": null,
        "device_id": null, "must_change_password": false});
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// Somebody who has registered and is logged in.
pub async fn alice() -> Client {
    let mut client = Client { post: Post::start(YAML).await, user: None };
    let body = json!({"email": "Alice@Example.com", "password": PASSWORD, "first_name": "Alice", "last_name": "Doe"});
    let shown = json!({"message": "=Registration successful", "user": user(),
        "verification_required": {"email": true, "phone": false}});
    let made = client.says("POST /register/", body, 201, shown.clone()).await;
    assert_eq!(made["user"]["email"], "alice@example.com");
    let again = json!({"email": "alice@example.com", "password": PASSWORD, "first_name": "X"});
    client.says("POST /register/", again, 201, shown).await;
    let login = json!({"email": "alice@example.com", "password": PASSWORD});
    let first = client.says("POST /login/email/", login, 200, entered()).await;
    client.is(&first);
    let code = code_in(&text_of(&client.post.letter(1).await));
    let shown =
        json!({"message": "=Email verified successfully", "email_verified": true, "verified_at": "2026"});
    client.says("POST /otp/verify/email/", json!({"code": code}), 200, shown).await;
    client
}

#[tokio::test]
async fn registering_logging_in_refreshing_and_logging_out() {
    let mut client = alice().await;
    let invalid = |fields: Value| json!({"error": "=Validation error", "details": fields});
    for (body, details) in [
        (json!({}), json!({"password": ["=This field is required."]})),
        (json!({"email": "no", "password": PASSWORD}), json!({"email": ["=Enter a valid email address."]})),
        (json!({"password": PASSWORD}), json!({"non_field_errors": ["=Email or phone number is required"]})),
        (json!({"email": "b@example.com", "password": "password"}), json!({"password": ["x"]})),
    ] {
        client.says("POST /register/", body, 400, invalid(details)).await;
    }
    let login = |password: &str| json!({"email": "alice@example.com", "password": password});
    client.user = None;
    client
        .refused("POST /login/email/", login("wrong"), 401, "Invalid email or password", "LOGIN_FAILED")
        .await;
    let body = json!({"phone_country_code": "33", "phone_number": "699999999", "password": "wrong"});
    client.refused("POST /login/phone/", body, 401, "Invalid phone number or password", "LOGIN_FAILED").await;
    let first = client.says("POST /login/email/", login(PASSWORD), 200, entered()).await;
    let refresh = |of: &Value| json!({"refresh_token": of["refresh_token"]});
    let mut shown = tokens();
    (shown["user"], shown["must_change_password"]) = (user(), json!(false));
    let second = client.says("POST /refresh/", refresh(&first), 200, shown).await;
    let missing = "refresh_token is required";
    client.refused("POST /refresh/", json!({}), 400, missing, "MISSING_REFRESH_TOKEN").await;
    let unknown = json!({"refresh_token": "970dee5d-192a-4279-ba59-2e84a7d42a1d"});
    client
        .refused("POST /refresh/", unknown, 401, "Invalid or expired refresh token", "REFRESH_FAILED")
        .await;
    client.refused("POST /logout/", json!({}), 400, missing, "MISSING_REFRESH_TOKEN").await;
    let done = json!({"message": "=Logged out successfully"});
    client.says("POST /logout/", refresh(&second), 200, done).await;
    let third = client.says("POST /login/email/", login(PASSWORD), 200, entered()).await;
    client.is(&third);
    let all = client.says("POST /logout/all/", Value::Null, 200, json!({"message": ""})).await;
    assert!(all["message"].as_str().unwrap().starts_with("Logged out from "), "{all}");
}

#[tokio::test]
async fn codes_and_links_that_are_sent() {
    let mut client = alice().await;
    client.post.clock.advance(Duration::from_secs(61));
    let sent = json!({"message": "=OTP sent", "otp_id": "4", "expires_at": "2026", "channel": "=email", "masked_recipient": "=a***@example.com"});
    client.says("POST /otp/request/", json!({"otp_type": "email"}), 200, sent).await;
    let invalid =
        json!({"error": "=Validation error", "details": {"otp_type": ["=\"fax\" is not a valid choice."]}});
    client.says("POST /otp/request/", json!({"otp_type": "fax"}), 400, invalid).await;
    client
        .refused(
            "POST /otp/request/",
            json!({"otp_type": "phone"}),
            400,
            "No phone number on account",
            "NO_PHONE",
        )
        .await;
    client.user = None;
    let phone = json!({"phone_country_code": "+44", "phone_number": "7700900123"});
    let sent = json!({"message": "=OTP sent", "otp_id": "14", "expires_at": "2026", "channel": "=sms"});
    client.says("POST /login/otp/request/", phone.clone(), 200, sent).await;
    let mut wrong = phone;
    wrong["otp_code"] = json!("123456");
    client.says("POST /login/otp/verify/", wrong, 401, json!({"error": "", "code": "=OTP_INVALID"})).await;
    let letters = client.post.mail.taken().len();
    let link = json!({"email": "alice@example.com", "validation_url": "https://app.example.com/enter"});
    let said = json!({"message": "=If this email is registered, a magic link has been sent."});
    client.says("POST /magic-link/request/", link, 200, said.clone()).await;
    let unknown = json!({"email": "nobody@example.com", "validation_url": "https://app.example.com/enter"});
    client.says("POST /magic-link/request/", unknown, 200, said).await;
    client.refused("POST /magic-link/request/", json!({}), 400, "Email is required", "EMAIL_REQUIRED").await;
    let bare = json!({"email": "alice@example.com"});
    client
        .refused(
            "POST /magic-link/request/",
            bare,
            400,
            "Validation URL is required",
            "VALIDATION_URL_REQUIRED",
        )
        .await;
    let mut at = letters;
    let letter = loop {
        let letter = text_of(&client.post.letter(at).await);
        if letter.contains("?token=") {
            break letter;
        }
        at += 1;
    };
    let token = letter.split_once("?token=").unwrap().1.split_whitespace().next().unwrap().to_owned();
    let line = format!("GET /magic-link/verify/?token={token}");
    let shown = json!({"access": "<JWT>", "refresh": "x", "user": user(), "session_id": null, "device_id": null,
        "message": "=Magic link verified successfully"});
    client.says(&line, Value::Null, 200, shown).await;
    client.refused(&line, Value::Null, 401, "Invalid or expired magic link.", "MAGIC_LINK_INVALID").await;
    let bare = "GET /magic-link/verify/";
    client.refused(bare, Value::Null, 400, "Token is required", "TOKEN_REQUIRED").await;
    let asked = client
        .says(
            "POST /webauthn/authenticate/begin/",
            json!({}),
            200,
            json!({"challenge_id": "4", "options": "{}"}),
        )
        .await;
    let options: Value = serde_json::from_str(asked["options"].as_str().unwrap()).unwrap();
    like(
        "options",
        &json!({"challenge": "x", "timeout": 60000, "rpId": "=example.com", "allowCredentials": [], "userVerification": ""}),
        &options,
    );
    let missing = json!({"challenge_id": asked["challenge_id"]});
    client
        .refused(
            "POST /webauthn/authenticate/complete/",
            missing,
            400,
            "credential is required",
            "MISSING_FIELDS",
        )
        .await;
}

#[tokio::test]
async fn passwords_and_second_factors() {
    let mut client = alice().await;
    let strength = json!({"password": "Tr0ub4dor&3xyz", "email": "x@example.com"});
    let shown =
        json!({"score": 85, "strength": "=strong", "is_valid": true, "errors": [], "requirements": [""]});
    assert_eq!(client.says("POST /password/strength/", strength, 200, shown).await["score"], 85);
    let shown = json!({"requirements": [""], "min_length": 8, "max_length": 128});
    client.says("GET /password/requirements/", Value::Null, 200, shown).await;
    let change = |present: Value| json!({"current_password": present, "new_password": OTHER});
    let line = "POST /password/change/";
    client
        .refused(line, change(json!("wrong")), 400, "Current password is incorrect", "INVALID_PASSWORD")
        .await;
    let either = "Current password or a valid OTP code is required";
    client.refused(line, change(Value::Null), 400, either, "REAUTH_REQUIRED").await;
    let set = json!({"otp_code": "123456", "new_password": OTHER});
    let has = "Account already has a usable password. Use /password/change/ instead.";
    client.refused("POST /password/set-initial/", set, 400, has, "ALREADY_HAS_PASSWORD").await;
    let status = json!({"is_enabled": false, "backup_codes_remaining": 0});
    client.says("GET /2fa/status/", Value::Null, 200, status).await;
    let begun = json!({"secret": "", "qr_code": "data:", "provisioning_uri": "otpauth:", "backup_codes": [""],
        "message": "=Scan the QR code with your authenticator app, then confirm with a code.",
        "warning": "=Save the backup codes securely. They will not be shown again."});
    let begun = client.says("POST /2fa/setup/", Value::Null, 200, begun).await;
    assert_eq!(
        (begun["secret"].as_str().unwrap().len(), begun["backup_codes"].as_array().unwrap().len()),
        (32, 10)
    );
    let seed = Seed::parse(begun["secret"].as_str().unwrap()).unwrap();
    let code = |client: &Client| seed.code_at(client.post.gateway.running.app.now()).expose().clone();
    client.refused("POST /2fa/confirm/", json!({}), 400, "Code is required", "CODE_REQUIRED").await;
    client
        .refused(
            "POST /2fa/confirm/",
            json!({"code": "000000"}),
            400,
            "Invalid code. Please try again.",
            "INVALID_CODE",
        )
        .await;
    let on = json!({"message": "=2FA enabled successfully", "is_enabled": true, "access_token": "", "refresh_token": "", "token_type": "=Bearer", "expires_in": 1});
    let on = client.says("POST /2fa/confirm/", json!({"code": code(&client)}), 200, on).await;
    client.is(&on);
    client
        .refused("POST /2fa/setup/", Value::Null, 400, "2FA is already enabled", "2FA_ALREADY_ENABLED")
        .await;
    client.post.clock.advance(Duration::from_secs(30));
    let more = json!({"message": "", "backup_codes": [""], "warning": ""});
    client.says("POST /2fa/backup-codes/", json!({"code": code(&client)}), 200, more).await;
    let trail = client.post.codes_of_the_trail().await;
    assert_eq!(trail.iter().filter(|code| *code == "2fa_backup_codes_replaced").count(), 1);
    let login = |code: Value| json!({"email": "alice@example.com", "password": PASSWORD, "totp_code": code});
    let asked = json!({"error": "=2FA code required", "code": "=2FA_REQUIRED", "requires_2fa": true});
    client.says("POST /login/email/", login(Value::Null), 401, asked).await;
    client
        .refused("POST /login/email/", login(json!("000000")), 401, "Invalid 2FA code.", "INVALID_2FA_CODE")
        .await;
    let off = |code: &str, password: Value| json!({"code": code, "password": password});
    client.refused("POST /2fa/disable/", off("000000", Value::Null), 400, either, "REAUTH_REQUIRED").await;
    client
        .refused("POST /2fa/disable/", off("000000", json!(PASSWORD)), 400, "Invalid code.", "INVALID_CODE")
        .await;
    client.post.clock.advance(Duration::from_secs(30));
    let done = json!({"message": "=2FA disabled successfully", "is_enabled": false});
    client.says("POST /2fa/disable/", off(&code(&client), json!(PASSWORD)), 200, done).await;
    let changed = json!({"message": "=Password changed successfully", "password_strength": "", "sessions_revoked": true});
    client.says(line, change(json!(PASSWORD)), 200, changed).await;
    client.user = None;
    let sent = json!({"message": "=Password reset code sent", "otp_id": "10", "expires_at": "2026", "channel": "=email"});
    for email in ["alice@example.com", "nobody@example.com"] {
        client.says("POST /password/reset/request/", json!({"email": email}), 200, sent.clone()).await;
    }
    let wrong = json!({"email": "alice@example.com", "otp_code": "000000", "new_password": PASSWORD});
    client
        .says("POST /password/reset/confirm/", wrong, 400, json!({"error": "", "code": "=RESET_FAILED"}))
        .await;
}
