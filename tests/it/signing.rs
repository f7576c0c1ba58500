//! What access tokens are signed with, on the running gateway, and what is published to verify them.
//!
//! Law: a token names its key, the key has one algorithm, and a change of it logs nobody out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::audit::{self, Actor};
use portcullis::base::{Clock, Secret, SystemClock, TestClock};
use portcullis::crypto::digest::{base64url, unbase64url};
use portcullis::crypto::keyring::Purpose;
use portcullis::keys;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use serde_json::Value;

use crate::support::people::{TRUSTING, User, elsewhere};
use crate::support::{Gateway, Upstream};

/// Longer than a new key waits until it signs.
const A_WHILE: Duration = Duration::from_secs(20);
const PEM: &str = include_str!("../../src/crypto/jwt/test_rsa.pem");

fn yaml(upstream: &Upstream, tokens: &str) -> String {
    format!(
        "{TRUSTING}{tokens}upstreams: {{ up: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: /mine }}, upstream: up, allow: signed_in }} ]
",
        upstream.address
    )
}

fn header_of(token: &str) -> Value {
    let part = token.split('.').next().expect("a header");
    serde_json::from_slice(&unbase64url(part).expect("base64url")).expect("JSON")
}

/// Whether a client that knows only the published keys can verify it; `None` where its key is not
/// among them.
async fn verifies(gateway: &Gateway, token: &str) -> Option<bool> {
    let published = gateway.send("GET", "/.well-known/jwks.json", &[]).await.json();
    let kid = header_of(token)["kid"].clone();
    let key = published["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid)?.clone();
    assert_eq!(key["alg"], header_of(token)["alg"]);
    assert!(key.get("d").is_none() && key.get("k").is_none());
    let part = |name: &str| unbase64url(key[name].as_str().expect("a part")).expect("base64url");
    let (signed, made) = token.rsplit_once('.').expect("a signature");
    let made = unbase64url(made).expect("base64url");
    let by = |algorithm: &'static dyn VerificationAlgorithm, public: Vec<u8>| {
        UnparsedPublicKey::new(algorithm, public).verify(signed.as_bytes(), &made).is_ok()
    };
    Some(match key["kty"].as_str().expect("a kind") {
        "OKP" => by(&signature::ED25519, part("x")),
        "EC" => by(&signature::ECDSA_P256_SHA256_FIXED, [vec![4], part("x"), part("y")].concat()),
        "RSA" => {
            let public = signature::RsaPublicKeyComponents { n: part("n"), e: part("e") };
            public.verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &made).is_ok()
        }
        other => panic!("no such kind: {other}"),
    })
}

/// The same token with another algorithm in its header.
fn claiming(token: &str, algorithm: &str) -> String {
    let mut header = header_of(token);
    header["alg"] = algorithm.into();
    let (_, rest) = token.split_once('.').expect("a header");
    format!("{}.{rest}", base64url(header.to_string().as_bytes()))
}

#[tokio::test]
async fn every_algorithm_of_the_configuration_signs_and_its_change_logs_nobody_out() {
    let upstream = Upstream::echo().await;
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let folder = tempfile::tempdir().unwrap();
    let gateway =
        Gateway::start_by(Arc::clone(&clock) as _, folder, &yaml(&upstream, "")).await.expect("it starts");
    let web = gateway.application("web", &[]).await;
    let id = gateway.account("ada", |_| {}).await;
    let mut users: Vec<User> = Vec::new();
    for algorithm in ["EdDSA", "ES256", "HS256", "RS256"] {
        let loaded = gateway.load(&yaml(&upstream, &format!("tokens: {{ algorithm: {algorithm} }}\n")));
        if algorithm == "RS256" {
            assert!(gateway.running.reload(&loaded).await.is_err(), "nobody has brought a key");
            let pem = Secret::new(PEM.as_bytes().to_vec());
            keys::add(&gateway.running.app, Actor::command_line(), Purpose::Access, &pem).await.unwrap();
        }
        gateway.running.reload(&loaded).await.unwrap();
        clock.advance(A_WHILE);
        users.push(gateway.log_in("ada", id, &web).await);
        let token = &users.last().unwrap().access;
        assert_eq!(header_of(token)["alg"], algorithm);
        for user in &users {
            assert_eq!(gateway.get_as(user, "/mine", &[]).await.status, 200, "while {algorithm} signs");
        }
        let expected = (algorithm != "HS256").then_some(true);
        assert_eq!(verifies(&gateway, token).await, expected, "{algorithm}");
        for other in ["EdDSA", "ES256", "HS256", "RS256", "none"].iter().filter(|other| **other != algorithm)
        {
            let access = claiming(token, other);
            let mallory = User { access, ..users[0].clone() };
            let answer = gateway.get_as(&mallory, "/mine", &[&elsewhere()]).await;
            assert_eq!(answer.status, 401, "{algorithm} as {other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_refused_was_never_in_force() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&yaml(&upstream, "tokens: { access_for: 5m }\n")).await;
    let web = gateway.application("web", &[]).await;
    let id = gateway.account("ada", |_| {}).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, app) = (Arc::clone(&stop), Arc::clone(&gateway.running.app));
    let watching = std::thread::spawn(move || {
        let is_ours = || app.config().tokens.access_for == Duration::from_mins(5);
        while !seen.load(Ordering::SeqCst) {
            assert!(is_ours(), "nobody has brought a key, and it was in force");
        }
    });
    // Nobody has brought a key for it.
    let refused = gateway.load(&yaml(&upstream, "tokens: { algorithm: RS256, access_for: 7m }\n"));
    let reloading = async {
        for _ in 0..30 {
            assert!(gateway.running.reload(&refused).await.is_err());
        }
    };
    let logging_in = async {
        for _ in 0..3 {
            let user = gateway.log_in("ada", id, &web).await;
            assert_eq!(header_of(&user.access)["alg"], "EdDSA");
            assert_eq!(gateway.get_as(&user, "/mine", &[]).await.status, 200);
        }
    };
    tokio::join!(reloading, logging_in);
    stop.store(true, Ordering::SeqCst);
    watching.join().expect("the configuration was the same all the time");
    let rows = audit::tail(&gateway.running.app.db, 0, 1000).await.unwrap();
    assert!(rows.iter().all(|row| row.code != "config_reloaded"));
}
