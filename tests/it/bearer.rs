//! Bearer tokens on the running gateway: forged, misspelled, over, revoked (security bar 2.D, 2.E).
//! Law: the recording upstream never sees a request whose token was refused.

use portcullis::account;
use portcullis::base::SystemRandom;
use portcullis::crypto::digest::{base64url, unbase64url};
use portcullis::crypto::jwt;
use portcullis::crypto::key::{Algorithm, SigningKey};
use portcullis::crypto::keyring::Purpose;
use serde_json::{Value, json};

use crate::agent;
use crate::support::people::{Keys, TRUSTING, User, elsewhere};
use crate::support::{Gateway, Upstream};

const SOCKET_KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

struct Scene {
    upstream: Upstream,
    gateway: Gateway,
    keys: Keys,
    ada: User,
}

async fn scene() -> Scene {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!(
        "{TRUSTING}upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in, websocket: true }} ]\n",
        upstream.address
    ))
    .await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    Scene { upstream, gateway, keys, ada }
}

impl Scene {
    async fn status(&self, token: &str) -> u16 {
        let line = format!("Authorization: Bearer {token}");
        self.gateway.send("GET", "/mine", &[line]).await.status
    }

    /// What the token gets at endpoints that take one, and for a WebSocket. From an address of its own, for
    /// so many bad ones are no longer looked at.
    async fn statuses_elsewhere(&self, token: &str) -> [u16; 4] {
        let [key, secret] = self.keys.lines();
        let lines = [format!("Authorization: Bearer {token}"), elsewhere(), key, secret];
        let call = async |method, path| self.gateway.call(method, path, &lines, &Value::Null).await.status;
        let [line, from, ..] = &lines;
        let socket = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", SOCKET_KEY];
        let socket = [&[line.clone(), from.clone()], &socket.map(str::to_owned)[..]].concat();
        [
            call("GET", "/me/").await,
            call("POST", "/ws-ticket/").await,
            call("POST", "/logout/all/").await,
            self.gateway.send("GET", "/mine", &socket).await.status,
        ]
    }

    /// The same claims, changed and signed anew.
    fn signed(&self, key: &SigningKey, typ: &'static str, change: impl FnOnce(&mut Value)) -> String {
        let payload = self.ada.access.split('.').nth(1).unwrap();
        let mut claims = serde_json::from_slice(&unbase64url(payload).unwrap()).unwrap();
        change(&mut claims);
        jwt::sign(key, typ, &claims).unwrap()
    }
}

#[tokio::test]
async fn a_forged_or_misspelled_token_reaches_nobody() {
    let scene = scene().await;
    assert_eq!(scene.status(&scene.ada.access).await, 200);
    let before = scene.upstream.count();
    let good = &scene.ada.access;
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let none = |alg: &str| base64url(json!({"alg": alg, "typ": "at+jwt", "kid": "x"}).to_string().as_bytes());
    let mut bad = vec![
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!("{good}.{signature}"),
        format!("{good}="),
        format!("{}A", good),
        good.replace('.', ".."),
        good[1..].to_owned(),
        "a".repeat(9000),
        scene.ada.refresh.clone(),
        String::from_utf8_lossy(&serde_json::to_vec(&json!({"payload": payload})).unwrap()).replace('"', ""),
    ];
    for alg in ["none", "None", "nOnE", "NONE", "", "HS256"] {
        bad.push(format!("{}.{payload}.", none(alg)));
        bad.push(format!("{}.{payload}.{signature}", none(alg)));
    }
    for token in bad {
        let shown = &token[..token.len().min(60)];
        assert_eq!(scene.status(&token).await, 401, "{shown}");
        assert_eq!(scene.statuses_elsewhere(&token).await, [401; 4], "{shown}");
    }
    for line in ["Bearer  x", "Bearer\tx", "Bearer x,y", "Bearer", "Basic YTpi", "Token x", ""] {
        let line = if line == "Bearer  x" { format!("Bearer  {good}") } else { line.to_owned() };
        let answer = scene.gateway.send("GET", "/mine", &[format!("Authorization: {line}")]).await;
        assert!(matches!(answer.status, 400 | 401), "{line}: {}", answer.status);
    }
    let twice = scene.gateway.send("GET", "/mine", &[scene.ada.bearer(), scene.ada.bearer()]).await;
    assert_eq!(twice.status, 400);
    let in_query = scene.gateway.send("GET", &format!("/mine?access_token={good}"), &[]).await;
    assert_eq!(in_query.status, 401);
    assert_eq!(scene.upstream.count(), before, "none of them got through");
    let line = format!("authorization: bEaReR {good}");
    assert_eq!(scene.gateway.send("GET", "/mine", &[line]).await.status, 200);
    // Where all of them were refused, the good one is taken.
    assert_eq!(scene.statuses_elsewhere(good).await[..3], [200, 200, 200]);
    assert_eq!(scene.status(good).await, 401, "for it ended itself");
}

#[tokio::test]
async fn only_our_keys_sign_and_only_what_we_write_is_read() {
    let scene = scene().await;
    let ring = scene.gateway.running.app.keyring();
    let now = scene.gateway.running.app.now();
    let ours = ring.active(Purpose::Access, now).unwrap();
    assert_eq!(scene.status(&scene.signed(ours, jwt::ACCESS, |_| {})).await, 200, "the same again is good");
    let stranger = SigningKey::generate(Algorithm::EdDsa, &SystemRandom).unwrap();
    let forged = scene.signed(&stranger, jwt::ACCESS, |_| {});
    assert_eq!(scene.status(&forged).await, 401);
    assert_eq!(scene.statuses_elsewhere(&forged).await, [401; 4]);
    let assertion = ring.active(Purpose::Assertion, now).unwrap();
    let misused = scene.signed(assertion, jwt::ACCESS, |_| {});
    assert_eq!(scene.status(&misused).await, 401, "another purpose");
    assert_eq!(scene.statuses_elsewhere(&misused).await, [401; 4], "another purpose");
    for typ in ["JWT", "portcullis-assertion+jwt", "AT+JWT", ""] {
        let token = scene.signed(ours, typ, |_| {});
        assert_eq!(scene.status(&token).await, 401, "{typ}");
        assert_eq!(scene.statuses_elsewhere(&token).await, [401; 4], "{typ}");
    }
    let claims: [fn(&mut Value); 14] = [
        |c| c["exp"] = json!("9999999999"),
        |c| c["exp"] = json!(-1),
        |c| c["exp"] = Value::Null,
        |c| c["exp"] = c["iat"].clone(),
        |c| c["exp"] = json!(c["exp"].as_i64().unwrap() + 86_400 * 30),
        |c| c["nbf"] = json!("x"),
        |c| c["iat"] = json!(c["iat"].as_i64().unwrap() + 3600),
        |c| c["iss"] = json!("portcullis/"),
        |c| c["type"] = json!("refresh"),
        |c| c["sub"] = json!(1),
        |c| c["scope"] = json!("password_change_only"),
        |c| c["sid"] = json!("0190b8a2-7c1e-7f00-8000-00000000000b"),
        |c| c["app_id"] = json!("default"),
        |c| c["user_id"] = json!("0190b8a2-7c1e-7f00-8000-00000000000b"),
    ];
    for (number, change) in claims.into_iter().enumerate() {
        let status = scene.status(&scene.signed(ours, jwt::ACCESS, change)).await;
        assert!(matches!(status, 401 | 403), "claim change {number}: {status}");
        // Any of ours may end its own session, also one that is for a new password only.
        let [me, ticket, _, socket] =
            scene.statuses_elsewhere(&scene.signed(ours, jwt::ACCESS, change)).await;
        let all = [me, ticket, socket];
        assert!(all.iter().all(|status| matches!(status, 401 | 403)), "claim change {number}: {all:?}");
    }
    for name in ["exp", "iat", "iss", "sub", "jti", "sid", "type"] {
        let without =
            scene.signed(ours, jwt::ACCESS, |claims| drop(claims.as_object_mut().unwrap().remove(name)));
        assert_eq!(scene.status(&without).await, 401, "without {name}");
        assert_eq!(scene.statuses_elsewhere(&without).await, [401; 4], "without {name}");
    }
    assert_eq!(scene.status(&jwt_of_a_list(ours)).await, 401);
}

fn jwt_of_a_list(key: &SigningKey) -> String {
    jwt::sign(key, jwt::ACCESS, &json!(["sub", "exp"])).unwrap()
}

#[tokio::test]
async fn logging_out_ends_the_access_token_at_once() {
    let scene = scene().await;
    let lines =
        |user: &User| vec![user.bearer(), scene.keys.lines()[0].clone(), scene.keys.lines()[1].clone()];
    let other = scene.gateway.log_in("ada", scene.ada.id, &scene.keys).await;
    let body = json!({"refresh_token": scene.ada.refresh});
    assert_eq!(scene.gateway.call("POST", "/logout/", &lines(&scene.ada), &body).await.status, 200);
    assert_eq!(scene.status(&scene.ada.access).await, 401);
    assert_eq!(scene.status(&other.access).await, 200, "another session lives on");
    let third = scene.gateway.log_in("ada", scene.ada.id, &scene.keys).await;
    assert_eq!(scene.gateway.call("POST", "/logout/all/", &lines(&third), &Value::Null).await.status, 200);
    for token in [&other.access, &third.access] {
        assert_eq!(scene.status(token).await, 401);
    }
    let body = json!({"refresh_token": other.refresh});
    assert_eq!(scene.gateway.call("POST", "/refresh/", &scene.keys.lines(), &body).await.status, 401);
}

#[tokio::test]
async fn an_account_that_may_not_act_stops_everywhere() {
    let scene = scene().await;
    let gateway = &scene.gateway;
    let lines =
        |user: &User| vec![user.bearer(), scene.keys.lines()[0].clone(), scene.keys.lines()[1].clone()];
    assert_eq!(gateway.call("GET", "/me/", &lines(&scene.ada), &Value::Null).await.status, 200);
    gateway.change(async |change| assert!(account::lock(change, scene.ada.id, None).await.unwrap())).await;
    assert_eq!(scene.status(&scene.ada.access).await, 401);
    assert_eq!(gateway.call("GET", "/me/", &lines(&scene.ada), &Value::Null).await.status, 401);
    let body = json!({"refresh_token": scene.ada.refresh});
    assert_eq!(gateway.call("POST", "/refresh/", &scene.keys.lines(), &body).await.status, 401);
    gateway.change(async |change| assert!(account::unlock(change, scene.ada.id).await.unwrap())).await;
    assert_eq!(scene.status(&scene.ada.access).await, 401, "what was ended stays ended");
    let again = gateway.log_in("ada", scene.ada.id, &scene.keys).await;
    assert_eq!(scene.status(&again.access).await, 200);
}

#[tokio::test]
async fn what_opens_another_door_is_no_access_token() {
    let upstream = Upstream::echo().await;
    let scene = agent::scene(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes: [ {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in, agents: {{ permission: reports.read }} }} ]\n",
        upstream.address
    ))
    .await;
    let (_, agent) = scene.mint(&json!({"agent_id": "robot", "permissions": ["reports.read"]})).await;
    let text =
        |answer: Value, key: &str| answer[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let key = json!({"name": "report", "scopes": ["reports.read"]});
    let key = text(scene.call("POST", "/api-keys/", &key).await.json(), "key");
    let ticket = text(scene.call("POST", "/ws-ticket/", &json!({})).await.json(), "ticket");
    let ask = async |line: String| scene.gateway.send("GET", "/mine", &[line]).await.status;
    assert_eq!(ask(agent::bearer(&agent)).await, 200, "each is good where it belongs");
    assert_eq!(ask(format!("X-API-Key: {key}")).await, 200);
    let Keys { key: access_key, secret, .. } = &scene.keys;
    for token in [&agent, &key, &ticket, &scene.ada.refresh, access_key, secret] {
        assert_eq!(ask(format!("Authorization: Bearer {token}")).await, 401);
    }
    for token in [&scene.ada.access, &key, &ticket, &scene.ada.refresh] {
        assert_eq!(ask(agent::bearer(token)).await, 401);
    }
    for token in [&scene.ada.access, &agent, &ticket] {
        assert_eq!(ask(format!("X-API-Key: {token}")).await, 401);
    }
    assert_eq!(upstream.count(), 2);
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for token in [&scene.ada.access, &agent, &key] {
        let answer = scene.gateway.send("GET", &format!("/mine?ticket={token}"), &[socket.to_owned()]).await;
        assert!(matches!(answer.status, 401 | 403), "{}", answer.status);
    }
    assert_eq!(upstream.count(), 2);
}
