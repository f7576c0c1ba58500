//! A provider of identities on this machine: it describes itself, logs one person in, redeems codes and
//! publishes its keys, over HTTP. It is strict about what it is asked, and lies when it is told to.
//!
//! Law: a code is redeemed once, by who asked for it, with what it was asked for with; what the gateway
//! would get away with elsewhere fails here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::base::{Clock, SystemRandom};
use portcullis::crypto::digest::{base64, base64url, hmac_sha256, sha256};
use portcullis::crypto::jwt;
use portcullis::crypto::key::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::raw::{Answer, exchange};
use super::upstream::{Act, Seen, Upstream};

pub const CLIENT: &str = "gateway-client";
pub const CLIENT_SECRET: &str = "canary-client-secret-5a1f";

/// How the provider deceives.
#[derive(Debug, Clone)]
pub enum Lie {
    None,
    /// These claims stand in place of the true ones; `null` takes one away.
    Claims(Value),
    /// Nobody has signed.
    Unsigned,
    /// Signed with the public key as if it were a secret.
    PublicKeyAsSecret,
    /// By a key that is not published.
    UnknownKey,
    /// By another key under the name of the published one.
    OtherKey,
    /// It describes itself as another issuer.
    OtherIssuer,
    /// One of its endpoints, as its description calls it, is elsewhere.
    Endpoint(&'static str, String),
    /// It answers the path with this instead.
    Says(&'static str, Act),
}

/// What a code was given for.
#[derive(Clone)]
struct Grant {
    redirect_uri: String,
    nonce: Option<String>,
    challenge: String,
}

struct State {
    key: SigningKey,
    lie: Lie,
    person: Value,
    userinfo: Value,
    grants: HashMap<String, Grant>,
    next: u32,
}

#[derive(Clone)]
pub struct Provider {
    pub server: Upstream,
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, &SystemRandom).expect("a key")
}

/// Ada, as the provider knows her.
fn ada() -> Value {
    json!({"sub": "ada-1", "email": "ada@example.com", "email_verified": true, "given_name": "Ada",
        "family_name": "Lovelace"})
}

impl Provider {
    pub async fn start(clock: Arc<dyn Clock>) -> Self {
        let (person, userinfo) = (ada(), json!({"sub": "ada-1"}));
        let state =
            State { key: new_key(), lie: Lie::None, person, userinfo, grants: HashMap::new(), next: 0 };
        let state = Arc::new(Mutex::new(state));
        let (inner, time) = (Arc::clone(&state), Arc::clone(&clock));
        let server = Upstream::start(move |seen| answer(&inner, time.as_ref(), seen)).await;
        Self { server, state, clock }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The lines of a configuration that trusts it under this name.
    pub fn yaml(&self, name: &str, more: &str) -> String {
        // A busy machine is no slow provider, except where a test means one.
        let timeout = if more.contains("timeout:") { "" } else { ", timeout: 15s" };
        format!(
            "    {name}: {{ issuer: '{}', client_id: {CLIENT}, client_secret: {CLIENT_SECRET}, allow_private: true{timeout}{more} }}\n",
            self.issuer()
        )
    }

    pub fn lie(&self, lie: Lie) {
        self.state.lock().unwrap().lie = lie;
    }

    /// Who logs in from now on.
    pub fn person(&self, person: Value) {
        self.state.lock().unwrap().person = person;
    }

    /// What it says of people beside ID tokens.
    pub fn userinfo(&self, person: Value) {
        self.state.lock().unwrap().userinfo = person;
    }

    /// Signs with another key from now on, and publishes that one alone.
    pub fn rotate(&self) {
        self.state.lock().unwrap().key = new_key();
    }

    /// How often a path was asked.
    pub fn count(&self, path: &str) -> usize {
        let of = |seen: &Seen| seen.target().split('?').next() == Some(path);
        self.server.seen().iter().filter(|seen| of(seen)).count()
    }

    /// An ID token, as an app on a phone gets it.
    pub fn id_token(&self, more: &Value) -> String {
        let state = self.state.lock().unwrap();
        let claims = claims(&state, &self.issuer(), self.clock.as_ref(), None);
        sign(&state, &with(claims, more))
    }

    /// Logs the person in: goes where the gateway sent the browser, and returns where it is sent back to.
    pub async fn log_in(&self, door: &str) -> String {
        let path = door.strip_prefix(&self.issuer()).expect("to this provider");
        let answer = self.ask(path).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        answer.header("location").expect("a way back").to_owned()
    }

    async fn ask(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address());
        exchange(self.address(), request).await.expect("an answer")
    }
}

fn with(mut claims: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn claims(state: &State, issuer: &str, clock: &dyn Clock, nonce: Option<&str>) -> Value {
    let now = clock.now().as_secs();
    let own = json!({"iss": issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "nonce": nonce});
    let own = if nonce.is_none() { with(own, &json!({"nonce": null})) } else { own };
    with(own, &state.person)
}

fn sign(state: &State, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    let by_hand = |header: Value, mac: &dyn Fn(&str) -> Vec<u8>| {
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = base64url(&mac(&signed));
        format!("{signed}.{signature}")
    };
    let (kid, public) = (state.key.kid(), state.key.verifying().jwk().unwrap());
    match &state.lie {
        Lie::Unsigned => by_hand(json!({"alg": "none", "kid": kid}), &|_| b"x".to_vec()),
        Lie::PublicKeyAsSecret => by_hand(json!({"alg": "HS256", "kid": kid}), &|signed| {
            hmac_sha256(public.to_string().as_bytes(), signed.as_bytes()).to_vec()
        }),
        Lie::UnknownKey => jwt::sign(&new_key(), "JWT", claims).unwrap(),
        Lie::OtherKey => {
            let bytes = new_key().to_bytes().clone();
            let other = SigningKey::from_bytes(kid.to_owned(), Algorithm::Es256, bytes).unwrap();
            jwt::sign(&other, "JWT", claims).unwrap()
        }
        _ => jwt::sign(&state.key, "JWT", claims).unwrap(),
    }
}

fn json_act(status: &str, body: &Value) -> Act {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Act::Answer((head + &body).into_bytes())
}

fn pairs(text: &str) -> HashMap<String, String> {
    let plain = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let hex = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                }
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

/// The parameters of a URL.
pub fn query_of(url: &str) -> HashMap<String, String> {
    pairs(url.split_once('?').map_or("", |(_, query)| query))
}

fn answer(state: &Mutex<State>, clock: &dyn Clock, seen: &Seen) -> Act {
    let mut state = state.lock().unwrap();
    let issuer = format!("http://{}", seen.header("host").unwrap_or_default());
    let path = seen.target().split('?').next().unwrap_or_default().to_owned();
    if let Lie::Says(at, act) = &state.lie
        && *at == path
    {
        return act.clone();
    }
    match path.as_str() {
        "/.well-known/openid-configuration" => json_act("200 OK", &description(&state, &issuer)),
        "/keys" => json_act("200 OK", &json!({"keys": [state.key.verifying().jwk().unwrap()]})),
        "/authorize" => authorize(&mut state, seen),
        "/token" => token(&mut state, &issuer, clock, seen),
        "/userinfo" if seen.header("authorization") == Some("Bearer provider-access") => {
            json_act("200 OK", &state.userinfo)
        }
        _ => json_act("404 Not Found", &json!({})),
    }
}

fn description(state: &State, issuer: &str) -> Value {
    let mut all = json!({
        "issuer": if matches!(state.lie, Lie::OtherIssuer) { "https://accounts.example.com" } else { issuer },
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        // As if it knew nothing better: the gateway must not fall back to it.
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["plain"],
        "id_token_signing_alg_values_supported": ["none", "HS256"],
    });
    if let Lie::Endpoint(name, url) = &state.lie {
        all[*name] = json!(url);
    }
    all
}

fn authorize(state: &mut State, seen: &Seen) -> Act {
    let asked = query_of(seen.target());
    let is_fine = asked.get("response_type").is_some_and(|kind| kind == "code")
        && asked.get("client_id").is_some_and(|client| client == CLIENT)
        && asked.get("scope").is_some_and(|scope| scope.split(' ').any(|one| one == "openid"))
        && asked.get("code_challenge_method").is_some_and(|method| method == "S256");
    let (Some(redirect_uri), Some(sent), Some(challenge), true) =
        (asked.get("redirect_uri"), asked.get("state"), asked.get("code_challenge"), is_fine)
    else {
        return json_act("400 Bad Request", &json!({"error": "invalid_request"}));
    };
    state.next += 1;
    let code = format!("code-{}", state.next);
    let (nonce, challenge) = (asked.get("nonce").cloned(), challenge.clone());
    state.grants.insert(code.clone(), Grant { redirect_uri: redirect_uri.clone(), nonce, challenge });
    let back = format!("{redirect_uri}?code={code}&state={sent}");
    Act::Answer(format!("HTTP/1.1 302 Found\r\nLocation: {back}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

fn token(state: &mut State, issuer: &str, clock: &dyn Clock, seen: &Seen) -> Act {
    let given = pairs(std::str::from_utf8(&seen.body).unwrap());
    let is = |name: &str, value: &str| given.get(name).is_some_and(|own| own == value);
    let refused = json_act("400 Bad Request", &json!({"error": "invalid_grant"}));
    let basic = format!("Basic {}", base64(format!("{CLIENT}:{CLIENT_SECRET}").as_bytes()));
    let is_client = is("client_id", CLIENT)
        && match seen.header("authorization") {
            Some(header) => header == basic && !given.contains_key("client_secret"),
            None => is("client_secret", CLIENT_SECRET),
        };
    if !is_client || !is("grant_type", "authorization_code") {
        return refused;
    }
    let Some(grant) = given.get("code").and_then(|code| state.grants.remove(code)) else { return refused };
    let verifier = given.get("code_verifier").map(|verifier| base64url(&sha256(verifier.as_bytes())));
    if !is("redirect_uri", &grant.redirect_uri) || verifier.as_ref() != Some(&grant.challenge) {
        return refused;
    }
    let claims = claims(state, issuer, clock, grant.nonce.as_deref());
    let claims = match &state.lie {
        Lie::Claims(more) => with(claims, more),
        _ => claims,
    };
    let id_token = sign(state, &claims);
    let tokens = json!({"access_token": "provider-access", "token_type": "Bearer", "expires_in": 600,
        "id_token": id_token});
    json_act("200 OK", &tokens)
}

/// A setting for providers that are not waited for.
pub const IMPATIENT: &str = ", timeout: 2s";

/// Says nothing for longer than a gateway waits that has [`IMPATIENT`] for a setting.
pub fn slow() -> Act {
    Act::Pieces(vec![(Duration::from_secs(20), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec())])
}
