//! Providers that lie, are slow or are gone, and clients that bring along what was not made for us.
//! Law: that way in fails with a stable code within its timeout, nobody is let in, and everything else
//! goes on.

use std::time::{Duration, Instant};

use futures::future::join_all;
use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::on_one_and_on_two;
use crate::social::{CALLBACK, Scene, user_of};
use crate::support::people::{PASSWORD, User, elsewhere};
use crate::support::provider::{IMPATIENT, Lie, slow};
use crate::support::raw::Answer;
use crate::support::replica::at_best;
use crate::support::{Act, Gateway};

impl Scene {
    /// Tries to log in with a browser while the provider lies.
    async fn deceived(&self, lie: Lie) -> u16 {
        let mut browser = self.browser();
        let door = browser.leave_for("acme").await;
        let back = self.acme.log_in(&door).await;
        self.acme.lie(lie);
        let answer = browser.get(&back).await;
        self.acme.lie(Lie::None);
        assert!(!browser.is_in(), "{}", answer.text());
        answer.status
    }

    async fn id_token(&self, more: Value) -> Answer {
        self.call(None, "/social/acme/", json!({"id_token": self.acme.id_token(&more)})).await
    }

    /// The code that a client gets which began the login by itself.
    async fn code(&self, redirect_uri: &str, verifier: &str) -> String {
        use portcullis::crypto::digest::{base64url, sha256};
        let challenge = base64url(&sha256(verifier.as_bytes()));
        let door = format!(
            "{}/authorize?response_type=code&client_id=gateway-client&scope=openid&state=s&nonce=n-1&redirect_uri={redirect_uri}\
             &code_challenge={challenge}&code_challenge_method=S256",
            self.acme.issuer()
        );
        crate::support::provider::query_of(&self.acme.log_in(&door).await)["code"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_that_is_not_what_it_must_be_lets_nobody_in() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let now = scene.clock_seconds();
    for claims in [
        json!({"iss": "https://accounts.example.com"}),
        json!({"iss": null}),
        json!({"aud": "somebody-else"}),
        json!({"aud": "phone-client"}),
        json!({"aud": ["gateway-client", "somebody-else"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"azp": "somebody-else"}),
        json!({"nonce": "of another login"}),
        json!({"nonce": null}),
        json!({"exp": now - 31}),
        json!({"exp": null}),
        json!({"exp": "9999999999"}),
        json!({"exp": now + 40 * 3600}),
        json!({"iat": now + 120, "exp": now + 600}),
        json!({"iat": null}),
        json!({"nbf": now + 120}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "x".repeat(256)}),
    ] {
        assert_eq!(scene.deceived(Lie::Claims(claims.clone())).await, 401, "{claims}");
    }
    for lie in [Lie::Unsigned, Lie::PublicKeyAsSecret, Lie::UnknownKey, Lie::OtherKey] {
        assert_eq!(scene.deceived(lie.clone()).await, 401, "{lie:?}");
    }
    assert!(scene.account("ada@example.com").await.is_none());
    let trail = scene.trail().await;
    assert!(trail.contains("identity_refused") && !trail.contains("account_created"));
    assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 303, "and the truth does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_slow_gone_or_broken_fails_in_time_and_alone() {
    let scene = Scene::with(Dialect::Sqlite, "", IMPATIENT).await;
    scene.gateway().account("eve", |_| {}).await;
    let answer = |status: &str, lines: &str, body: &str| {
        let text = format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len());
        Act::Answer(text.into_bytes())
    };
    let inside = "Location: http://127.0.0.1:1/token\r\n";
    for act in [
        slow(),
        Act::Hang,
        Act::Close,
        answer("307 Temporary Redirect", inside, ""),
        answer("302 Found", inside, ""),
        answer("500 Internal Server Error", "", "{}"),
        answer("200 OK", "", "<html>"),
        answer("200 OK", "", &format!("{{\"id_token\": \"{}\"}}", "x".repeat(300 * 1024))),
        answer("200 OK", "", "{\"id_token\": \"a\", \"id_token\": \"b\"}"),
    ] {
        at_best(Duration::from_secs(5), &format!("{act:?}"), async || {
            let begun = Instant::now();
            let other = async {
                let body =
                    json!({"email": "eve@example.com", "password": PASSWORD, "device_info": "v=1|os=linux"});
                scene.call(None, "/login/email/", body).await.status
            };
            let (status, meanwhile) = tokio::join!(scene.deceived(Lie::Says("/token", act.clone())), other);
            assert_eq!((status, meanwhile), (503, 200), "{act:?}");
            begun.elapsed()
        })
        .await;
    }
    let told = answer("400 Bad Request", "", "{\"error\": \"invalid_grant\"}");
    assert_eq!(scene.deceived(Lie::Says("/token", told)).await, 401);
    scene.acme.lie(Lie::Says("/keys", slow()));
    let told = scene.id_token(json!({"jti": 1})).await;
    // The keys were never asked for yet.
    assert_eq!((told.status, told.code()), (503, "PROVIDER_UNAVAILABLE".into()));
    assert!(told.header("retry-after").is_some() && !told.text().contains("127.0.0.1"), "{}", told.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_of_somebody_else_or_of_a_place_inside_is_not_followed() {
    for lie in [
        Lie::OtherIssuer,
        Lie::Says("/.well-known/openid-configuration", slow()),
        Lie::Says("/.well-known/openid-configuration", Act::ok("[]")),
        Lie::Endpoint("authorization_endpoint", "javascript:alert(1)".to_owned()),
        Lie::Endpoint("authorization_endpoint", "https://user:secret@id.example.com/".to_owned()),
    ] {
        let scene = Scene::with(Dialect::Sqlite, "", IMPATIENT).await;
        scene.acme.lie(lie.clone());
        let refused = scene.browser().get("/portcullis/social/acme/").await;
        assert_eq!(refused.status, 503, "{lie:?}");
        let again = scene.browser().get("/portcullis/social/acme/").await;
        assert_eq!(again.status, 503);
        assert_eq!(scene.acme.count("/.well-known/openid-configuration"), 1, "left alone for a moment");
        scene.acme.lie(Lie::None);
        scene.clock.advance(Duration::from_hours(1));
        assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 303);
    }
    for (name, url) in [("token_endpoint", "file:///etc/passwd"), ("jwks_uri", "ftp://127.0.0.1/keys")] {
        let scene = Scene::on(Dialect::Sqlite).await;
        scene.acme.lie(Lie::Endpoint(name, url.to_owned()));
        let mut browser = scene.browser();
        assert_eq!(browser.log_in(&scene.acme, "acme").await.status, 503, "{name}");
    }
}

#[tokio::test]
async fn a_provider_outside_leads_to_no_address_inside() {
    use portcullis::notify::reach::Reach;
    // By name, by address, and on this machine: without `allow_private` none is asked.
    let gateway = Gateway::start(
        "login: { social: { far: { issuer: 'https://localhost.example.invalid', client_id: x } } }\n",
    )
    .await;
    let answer = gateway.send("GET", "/portcullis/social/far/", &[]).await;
    assert_eq!(answer.status, 503);
    for inside in
        ["https://127.0.0.1/keys", "https://169.254.169.254/latest", "https://[::1]/", "https://10.1.2.3/"]
    {
        assert!(!Reach::Public.admits_url(&inside.parse().unwrap()), "{inside}");
    }
}

#[tokio::test]
async fn new_keys_are_fetched_once_for_all_and_not_too_often() {
    let scene = Scene::on(Dialect::Sqlite).await;
    assert_eq!(scene.id_token(json!({"jti": 1})).await.status, 200);
    assert_eq!(scene.acme.count("/keys"), 1);
    // Tokens that name keys which nobody has do not make us ask again and again.
    scene.acme.lie(Lie::UnknownKey);
    for number in 0..5 {
        assert_eq!(scene.id_token(json!({"jti": number})).await.status, 401);
    }
    assert_eq!(scene.acme.count("/keys"), 1, "too early");
    scene.clock.advance(Duration::from_secs(31));
    join_all((0..16).map(|number| scene.id_token(json!({"jti": number})))).await;
    assert_eq!(scene.acme.count("/keys"), 2, "one for all");
    scene.acme.lie(Lie::None);
    scene.acme.rotate();
    scene.clock.advance(Duration::from_secs(31));
    let all = join_all((100..116).map(|number| scene.id_token(json!({"jti": number})))).await;
    assert!(all.iter().all(|answer| answer.status == 200), "{}", all[0].text());
    assert_eq!(scene.acme.count("/keys"), 3);
}

on_one_and_on_two! {
    async fn an_id_token_that_was_brought_along_counts_once(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let token = scene.acme.id_token(&json!({"aud": "phone-client", "azp": "phone-client"}));
        let body = json!({"id_token": token});
        let tries = (0..64).map(|number| {
            let lines = [&scene.keys.lines()[..], &[elsewhere()]].concat();
            let (gateway, body) = (scene.all.nth(number), &body);
            async move { gateway.call("POST", "/social/acme/", &lines, body).await }
        });
        let all = join_all(tries).await;
        let count = |status: u16| all.iter().filter(|own| own.status == status).count();
        assert_eq!((count(200), count(401)), (1, 63));
        assert!(all.iter().all(|own| own.status == 200 || own.code() == "PROVIDER_AUTH_FAILED"));
    }

    async fn the_last_way_in_is_never_taken_away(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let user = user_of(&scene.id_token(json!({"jti": 1})).await);
        let list = scene.ask("GET", Some(&user), "/social/connections/", Value::Null).await.json();
        let first = list[0]["id"].as_str().unwrap().to_owned();
        assert_eq!((list[0]["provider"].as_str(), list[0]["email"].as_str()), (Some("acme"), Some("ada@example.com")));
        let refused = scene.disconnect(&user, &first, Value::Null).await;
        assert_eq!((refused.status, refused.code()), (409, "LAST_FACTOR".into()));
        scene.other.person(json!({"sub": "ada-elsewhere"}));
        let token = scene.other.id_token(&json!({}));
        let linked = scene.call(Some(&user), "/social/other/link/", json!({"id_token": token})).await;
        assert_eq!(linked.status, 201, "{}", linked.text());
        let second = linked.json()["id"].as_str().unwrap().to_owned();
        // Both at once: one stays.
        let (one, two) = tokio::join!(
            scene.disconnect(&user, &first, Value::Null),
            scene.disconnect(&user, &second, Value::Null)
        );
        let mut both = [one.status, two.status];
        both.sort_unstable();
        assert_eq!(both, [200, 409], "{} {}", one.text(), two.text());
        let list = scene.ask("GET", Some(&user), "/social/connections/", Value::Null).await.json();
        assert_eq!(list.as_array().unwrap().len(), 1);
        let trail = scene.trail().await;
        assert!(trail.contains("social_disconnected"));
    }

    async fn connecting_takes_a_fresh_proof_and_an_identity_opens_one_account(dialect: Dialect) {
        let scene = Scene::on(dialect).await;
        let gateway = scene.gateway();
        gateway.account("eve", |_| {}).await;
        let eve = scene.log_in("eve").await;
        let link = async |user: &User, number: u32, more: Value| {
            let mut body = json!({"id_token": scene.acme.id_token(&json!({"jti": number}))});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answer = scene.call(Some(user), "/social/acme/link/", body).await;
            (answer.status, answer.code())
        };
        scene.clock.advance(Duration::from_mins(14));
        let eve_later = scene.refreshed(&eve).await;
        scene.clock.advance(Duration::from_mins(2));
        assert_eq!(link(&eve_later, 1, json!({})).await, (400, "REAUTH_REQUIRED".into()));
        assert_eq!(link(&eve_later, 2, json!({"password": "wrong"})).await, (400, "INVALID_PASSWORD".into()));
        assert_eq!(link(&eve_later, 3, json!({"password": PASSWORD})).await.0, 201);
        assert_eq!(link(&eve_later, 4, json!({"password": PASSWORD})).await, (409, "SOCIAL_ALREADY_LINKED".into()));
        // Ada's identity at the provider opens Eve's account now: Eve said so, logged in.
        let entered = user_of(&scene.id_token(json!({"jti": 5})).await);
        let me = scene.ask("GET", Some(&entered), "/me/", Value::Null).await.json();
        assert!(me.to_string().contains("eve@example.com"), "{me}");
        gateway.account("mallory", |_| {}).await;
        let mallory = scene.log_in("mallory").await;
        assert_eq!(link(&mallory, 6, json!({})).await, (409, "SOCIAL_ALREADY_LINKED".into()));
        let list = scene.ask("GET", Some(&mallory), "/social/connections/", Value::Null).await.json();
        assert_eq!(list, json!([]));
        let list = scene.ask("GET", Some(&eve_later), "/social/connections/", Value::Null).await.json();
        let id = list[0]["id"].as_str().unwrap();
        assert_eq!(scene.disconnect(&mallory, id, Value::Null).await.status, 404, "it is not hers");
        assert_eq!(scene.disconnect(&eve_later, id, json!({"password": PASSWORD})).await.status, 200);
    }
}

impl Scene {
    fn clock_seconds(&self) -> i64 {
        use portcullis::base::Clock as _;
        self.clock.now().as_secs()
    }

    async fn disconnect(&self, user: &User, id: &str, body: Value) -> Answer {
        self.ask("DELETE", Some(user), &format!("/social/connections/{id}/"), body).await
    }

    async fn log_in(&self, name: &str) -> User {
        let email = format!("{name}@example.com");
        user_of(&self.call(None, "/login/email/", json!({"email": email, "password": PASSWORD})).await)
    }

    async fn refreshed(&self, user: &User) -> User {
        user_of(&self.call(None, "/refresh/", json!({"refresh_token": user.refresh})).await)
    }
}

#[tokio::test]
async fn a_code_is_redeemed_for_whom_it_was_given_and_where_it_may_go() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let verifier = "v".repeat(43);
    let send = async |body: Value| {
        let answer = scene.call(None, "/social/acme/", body).await;
        (answer.status, answer.code())
    };
    let code = scene.code(CALLBACK, &verifier).await;
    assert_eq!(send(json!({"code": code})).await, (400, "REDIRECT_URI_REQUIRED".into()));
    for uri in [
        "https://evil.example/cb",
        "https://app.example.com/cb/",
        "https://app.example.com/cb?x",
        "HTTPS://app.example.com/cb",
    ] {
        let refused = send(json!({"code": code, "redirect_uri": uri, "code_verifier": verifier})).await;
        assert_eq!(refused, (400, "INVALID_REDIRECT_URI".into()), "{uri}");
    }
    assert_eq!(scene.acme.count("/token"), 0);
    let refused =
        send(json!({"code": code, "redirect_uri": CALLBACK, "code_verifier": "w".repeat(43)})).await;
    assert_eq!(refused, (401, "CODE_EXCHANGE_FAILED".into()));
    let code = scene.code(CALLBACK, &verifier).await;
    let good = json!({"code": code, "redirect_uri": CALLBACK, "code_verifier": verifier, "nonce": "n-1"});
    assert_eq!(send(good.clone()).await.0, 200);
    assert_eq!(send(good).await, (401, "CODE_EXCHANGE_FAILED".into()), "the provider gave it once");
    let code = scene.code(CALLBACK, &verifier).await;
    let other = json!({"code": code, "redirect_uri": CALLBACK, "code_verifier": verifier, "nonce": "n-2"});
    assert_eq!(send(other).await, (401, "PROVIDER_AUTH_FAILED".into()), "of another login");

    let code = scene.code(CALLBACK, &verifier).await;
    let callback = async |query: &str| {
        let answer = scene.ask("GET", None, &format!("/social/acme/callback/{query}"), Value::Null).await;
        (answer.status, answer.code())
    };
    assert_eq!(callback("").await, (400, "MISSING_CODE".into()));
    assert_eq!(callback(&format!("?code={code}")).await, (400, "MISSING_REDIRECT_URI".into()));
    let evil = format!("?code={code}&redirect_uri=https://evil.example/cb");
    assert_eq!(callback(&evil).await, (400, "INVALID_REDIRECT_URI".into()));
    let good = format!("?code={code}&redirect_uri={CALLBACK}&code_verifier={verifier}");
    assert_eq!(callback(&good).await.0, 200);
}

#[tokio::test]
async fn the_secret_goes_where_the_provider_takes_it() {
    let scene = Scene::on(Dialect::Sqlite).await;
    // Not a list: then as every provider must take it.
    scene.acme.lie(Lie::Endpoint("token_endpoint_auth_methods_supported", "none".to_owned()));
    assert_eq!(scene.browser().log_in(&scene.acme, "acme").await.status, 303);
    assert_eq!(scene.browser().log_in(&scene.other, "other").await.status, 303);
    let how = |provider: &crate::support::provider::Provider| {
        let seen = provider.server.seen();
        let asked = seen.iter().find(|seen| seen.target() == "/token").unwrap();
        asked.header("authorization").is_some()
    };
    assert!(how(&scene.acme) && !how(&scene.other));
}

#[tokio::test]
async fn what_the_provider_says_beside_the_token_is_of_the_same_person() {
    let scene = Scene::on(Dialect::Sqlite).await;
    scene.acme.person(json!({"sub": "ada-1"}));
    scene.acme.userinfo(json!({"sub": "eve-1", "email": "eve@example.com", "email_verified": true}));
    let mut browser = scene.browser();
    assert_eq!(browser.log_in(&scene.acme, "acme").await.status, 401, "of somebody else");
    scene.acme.userinfo(
        json!({"sub": "ada-1", "email": "ada@example.com", "email_verified": true, "given_name": "Ada"}),
    );
    assert_eq!(browser.log_in(&scene.acme, "acme").await.status, 303);
    assert_eq!(scene.account("ada@example.com").await.unwrap().first_name, "Ada");
}

#[tokio::test]
async fn the_answer_is_the_contracts() {
    let scene = Scene::on(Dialect::Sqlite).await;
    let body = json!({"id_token": scene.acme.id_token(&json!({"jti": 1}))});
    let told = scene.call(None, "/social/acme/", body).await.json();
    for (key, value) in [
        ("is_new_user", json!(true)),
        ("provider", json!("acme")),
        ("message", json!("Authentication successful")),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    let person = &told["user"];
    for (key, value) in [
        ("email", json!("ada@example.com")),
        ("first_name", json!("Ada")),
        ("last_name", json!("Lovelace")),
        ("is_email_verified", json!(true)),
        ("is_phone_verified", json!(false)),
        ("is_2fa_enabled", json!(false)),
        ("roles", json!(["viewer"])),
        ("permissions", json!(["content.view"])),
    ] {
        assert_eq!(person[key], value, "{key}");
    }
    let refreshed = scene.call(None, "/refresh/", json!({"refresh_token": told["refresh_token"]})).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let body = json!({"id_token": scene.acme.id_token(&json!({"jti": 2}))});
    assert_eq!(scene.call(None, "/social/acme/", body).await.json()["is_new_user"], false);
    let unknown = scene.call(None, "/social/twitter/", json!({"access_token": "x"})).await;
    assert_eq!((unknown.status, unknown.code()), (400, "PROVIDER_NOT_SUPPORTED".into()));
    assert_eq!(unknown.json()["error"], "Provider 'twitter' is not supported or not enabled.");
    assert_eq!(unknown.json()["supported_providers"], json!(["acme", "other"]));
    let empty = scene.call(None, "/social/acme/", json!({})).await;
    assert_eq!((empty.status, empty.code()), (400, "MISSING_CREDENTIALS".into()));
    let raw = scene.call(None, "/social/acme/", json!({"access_token": "ya29.x"})).await;
    assert_eq!(
        (raw.status, raw.code()),
        (400, "MISSING_CREDENTIALS".into()),
        "for whom it was made, nobody says"
    );
}
