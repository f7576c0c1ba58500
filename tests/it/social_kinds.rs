//! GitHub, Facebook, Google and Microsoft as they speak, on the running gateway.
//! Law: a token is taken where it says that it was made for us, and an e-mail address is somebody's
//! where the provider has seen it.

use std::sync::{Arc, Mutex};

use portcullis::account::{self, Account};
use portcullis::base::SystemRandom;
use portcullis::crypto::digest::{base64, hex, hmac_sha256};
use portcullis::crypto::jwt;
use portcullis::crypto::key::{Algorithm, SigningKey};
use portcullis::store::DEFAULT_SITE;
use serde_json::{Value, json};

use crate::support::people::{Keys, TRUSTING, elsewhere};
use crate::support::raw::Answer;
use crate::support::upstream::Seen;
use crate::support::{Act, Gateway, Upstream};

const SECRET: &str = "shared-with-them";
const TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What a path is answered with; `None`: 404.
type Says = Arc<Mutex<dyn FnMut(&Seen) -> Option<Value> + Send>>;

struct Scene {
    gateway: Gateway,
    keys: Keys,
    there: Upstream,
}

/// A gateway that trusts what stands at one address, as this kind of provider.
async fn scene(name: &str, settings: impl Fn(&str) -> String, says: Says) -> Scene {
    let there = Upstream::start(move |seen| {
        let said = (says.lock().unwrap())(seen);
        said.map_or_else(
            || Act::Answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
            |said| Act::ok(said.to_string()),
        )
    })
    .await;
    let at = format!("http://{}", there.address);
    let yaml = format!(
        "{TRUSTING}login: {{ social: {{ {name}: {{ client_id: us, client_secret: {SECRET}, allow_private: true, {} }} }} }}\n",
        settings(&at)
    );
    let gateway = Gateway::start(&yaml).await;
    let keys = gateway.application("web", &[]).await;
    Scene { gateway, keys, there }
}

impl Scene {
    async fn call(&self, name: &str, body: Value) -> Answer {
        let lines = [&self.keys.lines()[..], &[elsewhere()]].concat();
        self.gateway.call("POST", &format!("/social/{name}/"), &lines, &body).await
    }

    async fn accounts(&self) -> Vec<Account> {
        account::list(&self.gateway.running.app.db, DEFAULT_SITE, 100, 0).await.unwrap()
    }
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn a_token_of_github_is_taken_where_github_says_that_it_is_ours() {
    let says: Says = Arc::new(Mutex::new(|seen: &Seen| {
        let is_ours = seen.header("authorization")
            == Some(format!("Basic {}", base64(format!("us:{SECRET}").as_bytes())).as_str());
        let token = |text: &str| seen.header("authorization") == Some(format!("Bearer {text}").as_str());
        match seen.target() {
            "/applications/us/token" if is_ours => {
                let given: Value = serde_json::from_slice(&seen.body).unwrap();
                match given["access_token"].as_str() {
                    Some("gho_ok") => Some(json!({"app": {"client_id": "us"}})),
                    Some("gho_other") => Some(json!({"app": {"client_id": "them"}})),
                    _ => None,
                }
            }
            "/user" if token("gho_ok") => Some(
                json!({"id": 583_231, "login": "ada", "name": "Ada King Lovelace", "email": "public@example.com"}),
            ),
            "/user/emails" if token("gho_ok") => Some(json!([
                {"email": "public@example.com", "primary": false, "verified": false},
                {"email": "ada@example.com", "primary": true, "verified": true}])),
            _ => None,
        }
    }));
    let scene = scene("github", |at| format!("site: '{at}', api: '{at}'"), says).await;
    let told = scene.call("github", json!({"access_token": "gho_ok"})).await;
    assert_eq!(told.status, 200, "{}", told.text());
    let user = &told.json()["user"];
    assert_eq!(
        (&user["email"], &user["first_name"], &user["last_name"]),
        (&json!("ada@example.com"), &json!("Ada"), &json!("King Lovelace"))
    );
    assert_eq!(told.json()["provider"], "github");
    for token in ["gho_other", "gho_unknown"] {
        let answer = scene.call("github", json!({"access_token": token})).await;
        assert_eq!(refused(&answer), (401, "PROVIDER_AUTH_FAILED".into()), "{token}");
        assert_eq!(answer.json()["error"], "Could not retrieve user data from github.");
    }
    let none = scene.call("github", json!({"id_token": "a.b.c"})).await;
    assert_eq!(refused(&none), (400, "MISSING_CREDENTIALS".into()));
    assert_eq!(scene.accounts().await.len(), 1);
    let text: String = scene.there.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert!(!text.contains("gho_") && !text.contains(SECRET), "not in a URL");
}

#[tokio::test]
async fn a_browser_that_comes_back_from_github_has_a_code_that_only_we_can_redeem() {
    let challenge = Arc::new(Mutex::new(String::new()));
    let expected = Arc::clone(&challenge);
    let says: Says = Arc::new(Mutex::new(move |seen: &Seen| match seen.target() {
        "/login/oauth/access_token" => {
            use portcullis::crypto::digest::{base64url, sha256};
            let form = String::from_utf8(seen.body.clone()).unwrap();
            let verifier = form.split("code_verifier=").nth(1).unwrap().split('&').next().unwrap();
            let is_ours = base64url(&sha256(verifier.as_bytes())) == *expected.lock().unwrap();
            // GitHub says no with a 200.
            Some(if is_ours && form.contains("code=good") && form.contains(SECRET) {
                json!({"access_token": "gho_ok", "token_type": "bearer"})
            } else {
                json!({"error": "bad_verification_code"})
            })
        }
        "/user" => Some(json!({"id": 1, "login": "ada", "name": null})),
        "/user/emails" => Some(json!([{"email": "ada@example.com", "primary": true, "verified": true}])),
        _ => None,
    }));
    let scene = scene("github", |at| format!("site: '{at}', api: '{at}'"), says).await;
    let mut browser =
        crate::social::Browser { gateway: &scene.gateway, cookies: std::collections::BTreeMap::new() };
    for (code, status) in [("bad", 401), ("good", 303)] {
        let door = browser.leave_for("github").await;
        let asked = crate::support::provider::query_of(&door);
        assert!(door.contains("/login/oauth/authorize?") && asked["scope"] == "read:user user:email");
        *challenge.lock().unwrap() = asked["code_challenge"].clone();
        let back = format!("/portcullis/social/github/callback/?code={code}&state={}", asked["state"]);
        let answer = browser.get(&back).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert!(browser.is_in());
}

#[tokio::test]
async fn facebook_says_for_whom_a_token_was_made_and_an_address_it_only_repeats_is_a_wish() {
    let proof = |token: &str| hex(&hmac_sha256(SECRET.as_bytes(), token.as_bytes()));
    let says: Says = Arc::new(Mutex::new(move |seen: &Seen| {
        let (path, query) = seen.target().split_once('?')?;
        let ours = format!("Bearer us|{SECRET}");
        match path {
            "/debug_token" if seen.header("authorization") == Some(ours.as_str()) => {
                let app = if query.contains("input_token=theirs") { "them" } else { "us" };
                let user = if query.contains("input_token=swapped") { "43" } else { "42" };
                Some(
                    json!({"data": {"is_valid": !query.contains("input_token=over"), "app_id": app, "user_id": user}}),
                )
            }
            "/me" if query.contains(&proof("ok")) || query.contains(&proof("swapped")) => {
                Some(json!({"id": "42", "email": "ada@example.com", "first_name": "Ada", "last_name": "L"}))
            }
            _ => None,
        }
    }));
    let scene = scene("facebook", |at| format!("site: '{at}', api: '{at}'"), says).await;
    scene.gateway.account("ada", |_| {}).await;
    for token in ["theirs", "over", "swapped"] {
        let answer = scene.call("facebook", json!({"access_token": token})).await;
        assert_eq!(refused(&answer), (401, "PROVIDER_AUTH_FAILED".into()), "{token}");
    }
    let told = scene.call("facebook", json!({"access_token": "ok"})).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(told.json()["user"]["email"], Value::Null, "nobody has seen that it is hers");
    let all = scene.accounts().await;
    assert_eq!(all.len(), 2, "the account that has the address is not hers either");
    let made = all.iter().find(|account| account.password_hash.is_none()).unwrap();
    assert_eq!(made.pending_email.as_ref().map(ToString::to_string), Some("ada@example.com".to_owned()));
}

/// The description and keys of an OpenID Connect provider, and what else is said.
fn described(
    key: &Arc<SigningKey>,
    issuer: &'static str,
    more: impl Fn(&Seen) -> Option<Value> + Send + 'static,
) -> Says {
    let key = Arc::clone(key);
    Arc::new(Mutex::new(move |seen: &Seen| {
        let at = format!("http://{}", seen.header("host").unwrap_or_default());
        let path = seen.target().split('?').next().unwrap_or_default();
        if path.ends_with("/.well-known/openid-configuration") {
            return Some(json!({
                "issuer": format!("{at}{issuer}"), "authorization_endpoint": format!("{at}/a"),
                "token_endpoint": format!("{at}/t"), "jwks_uri": format!("{at}/k"),
                "userinfo_endpoint": format!("{at}/u"),
            }));
        }
        if path == "/k" {
            return Some(json!({"keys": [key.verifying().jwk().unwrap()]}));
        }
        more(seen)
    }))
}

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(Algorithm::EdDsa, &SystemRandom).unwrap())
}

#[tokio::test]
async fn an_access_token_of_google_is_taken_where_its_audience_is_ours() {
    let key = key();
    let says = described(&key, "", |seen| {
        let target = seen.target();
        let is_bearer = seen.header("authorization") == Some("Bearer ok");
        match target.split('?').next()? {
            "/tokeninfo" if target.contains("access_token=ok") => {
                Some(json!({"aud": "us", "azp": "us", "sub": "ada", "expires_in": "3000"}))
            }
            "/tokeninfo" if target.contains("access_token=theirs") => {
                Some(json!({"aud": "them", "azp": "them", "sub": "ada"}))
            }
            "/tokeninfo" if target.contains("access_token=lent") => {
                Some(json!({"aud": "us", "azp": "them", "sub": "ada"}))
            }
            "/u" if is_bearer => Some(
                json!({"sub": "ada", "email": "ada@example.com", "email_verified": true, "hd": "example.com", "given_name": "Ada"}),
            ),
            _ => None,
        }
    });
    let scene = scene("google", |at| format!("issuer: '{at}', api: '{at}'"), says).await;
    for token in ["theirs", "lent", "unknown"] {
        let answer = scene.call("google", json!({"access_token": token})).await;
        assert_eq!(refused(&answer), (401, "PROVIDER_AUTH_FAILED".into()), "{token}");
    }
    let told = scene.call("google", json!({"access_token": "ok"})).await;
    assert_eq!(
        (told.status, &told.json()["user"]["email"]),
        (200, &json!("ada@example.com")),
        "{}",
        told.text()
    );
}

#[tokio::test]
async fn an_address_that_somebodys_tenant_wrote_opens_nobodys_account() {
    let key = key();
    let says = described(&key, "/{tenantid}/v2.0", |_| None);
    let scene = scene("microsoft", |at| format!("issuer: '{at}/common/v2.0'"), says).await;
    let at = format!("http://{}", scene.there.address);
    scene.gateway.account("ada", |_| {}).await;
    let now = portcullis::base::Clock::now(&portcullis::base::SystemClock).as_secs();
    let token = |tenant: &str, sub: &str, more: Value| {
        let mut claims = json!({"iss": format!("{at}/{tenant}/v2.0"), "aud": "us", "sub": sub, "tid": tenant,
            "iat": now, "exp": now + 300, "email": "ada@example.com", "email_verified": true});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"id_token": jwt::sign(&key, "JWT", &claims).unwrap()})
    };
    let told = scene.call("microsoft", token(TENANT, "eve", json!({}))).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!((&told.json()["is_new_user"], &told.json()["user"]["email"]), (&json!(true), &Value::Null));
    let other = "00000000-1111-2222-3333-444444444444";
    let told = scene.call("microsoft", token(other, "eve", json!({}))).await;
    assert_eq!(told.json()["is_new_user"], true, "another tenant's eve is somebody else");
    let told = scene.call("microsoft", token(TENANT, "eve", json!({"jti": 1}))).await;
    assert_eq!(told.json()["is_new_user"], false);
    let lie = json!({"iss": format!("{at}/{other}/v2.0")});
    let told = scene.call("microsoft", token(TENANT, "eve", lie)).await;
    assert_eq!(refused(&told), (401, "PROVIDER_AUTH_FAILED".into()));
    let told = scene.call("microsoft", token(TENANT, "ada", json!({"xms_edov": true}))).await;
    assert_eq!(
        told.json()["user"]["email"],
        "ada@example.com",
        "Microsoft has seen that the domain is theirs"
    );
    assert_eq!(scene.accounts().await.len(), 3);
    let raw = scene.call("microsoft", json!({"access_token": "x"})).await;
    assert_eq!(refused(&raw), (400, "MISSING_CREDENTIALS".into()));
}
