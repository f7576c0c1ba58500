//! What is fuzzed, as plain functions: what faces the network, fed with any bytes at all.
//!
//! Law: none of it panics, and what is let in means one thing: read again, it means the same. The
//! fuzz targets call these with what a fuzzer makes up, `tests/it/fuzz.rs` with the kept corpus.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use portcullis::base::{SystemRandom, Timestamp};
use portcullis::config;
use portcullis::crypto::jwt::{self, Expect};
use portcullis::crypto::key::{Algorithm, SigningKey};
use portcullis::crypto::keyring::{Keyring, Member, Purpose};
use portcullis::gate::RequestHead;
use portcullis::gate::head::{Arrival, Scheme, text_of};
use portcullis::gate::redact::{Broken, Names, Rewriter};
use portcullis::gate::request_id::RequestIds;
use portcullis::gate::rules::{EdgeRules, Hardening};
use portcullis::gate::target::{CanonicalTarget, Doubtful, TargetRules};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const RULES: TargetRules =
    TargetRules { encoded_slash: Doubtful::Refuse, params: Doubtful::Refuse, max: 8192 };
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The head of a request, as it stands on the wire.
pub fn head(raw: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = request.parse(raw) else { return };
    let (Some(method), Some(path)) = (request.method, request.path) else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let mut headers = HeaderMap::new();
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else { return };
        headers.append(name, value);
    }
    let peer: SocketAddr = ([192, 0, 2, 1], 5000).into();
    let rules = EdgeRules {
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        target: RULES,
        head_max: 32 << 10,
        fields_max: 100,
        hardening: Hardening::On,
    };
    let arrival = Arrival {
        method: &method,
        raw_target: path.as_bytes(),
        uri_authority: None,
        version: if request.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 },
        has_ended: false,
        headers: &headers,
        raw: Some(&raw[..length]),
        peer,
        peer_text: &text_of(peer.ip()),
        scheme: Scheme::Http,
        at: NOW,
    };
    if let Ok(head) = RequestHead::read(&arrival, RequestIds::new(&SystemRandom).take(None), &rules) {
        assert_eq!(head.client, peer.ip(), "nobody is trusted to say who calls");
        target(head.target.as_str().as_bytes());
    }
}

/// The target of a request.
pub fn target(raw: &[u8]) {
    let Ok(target) = CanonicalTarget::parse(raw, RULES) else { return };
    let again = CanonicalTarget::parse(target.as_str().as_bytes(), RULES);
    assert_eq!(again.map(|again| again.as_str().to_owned()).ok().as_deref(), Some(target.as_str()));
    let path = target.path();
    let climbs = path.split('/').any(|segment| segment == "." || segment == "..");
    assert!(path.starts_with('/') && !path.contains("//") && !climbs, "{path}");
}

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(problems) = config::load_text(text) {
        assert!(!problems.to_string().is_empty(), "whoever wrote it is told something");
    }
}

/// What is presented as an access token: text, or bytes to be changed in a good one.
pub fn token(bytes: &[u8]) {
    static GOOD: OnceLock<(Keyring, String)> = OnceLock::new();
    let (keys, good) = GOOD.get_or_init(good_token);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(!is_believed(keys, text), "nobody signed it: {text}");
    }
    let mut changed = good.clone().into_bytes();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len();
        changed[at] = change[2];
    }
    let Ok(text) = String::from_utf8(changed) else { return };
    assert_eq!(is_believed(keys, &text), text == *good, "{text}");
}

fn good_token() -> (Keyring, String) {
    let key = || SigningKey::generate(Algorithm::EdDsa, &SystemRandom).expect("a key");
    let active_from = Timestamp::from_millis(0);
    let keys = Keyring::new(vec![Member {
        purpose: Purpose::Access,
        key: key(),
        active_from,
        published_until: None,
    }]);
    let claims = json!({"iss": "portcullis", "sub": "a", "jti": "b", "iat": NOW.as_secs(), "nbf": NOW.as_secs(), "exp": NOW.as_secs() + 60});
    let token = jwt::sign(keys.active(Purpose::Access, NOW).expect("a key"), jwt::ACCESS, &claims);
    let token = token.expect("a token");
    assert!(is_believed(&keys, &token), "the good one is good");
    (keys, token)
}

fn is_believed(keys: &Keyring, text: &str) -> bool {
    let expect = Expect {
        typ: jwt::ACCESS,
        issuer: "portcullis",
        audience: None,
        now: NOW,
        leeway: Duration::ZERO,
        longest_for: Duration::from_hours(1),
    };
    jwt::verify::<Value>(keys, Purpose::Access, text, &expect).is_ok()
}

/// An answer that is redacted: the first byte says how it is cut, the rest is the answer.
pub fn redact(bytes: &[u8]) {
    let Some((cut, json)) = bytes.split_first() else { return };
    let whole = rewritten(json.chunks(json.len().max(1)));
    let cut = rewritten(json.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole, cut, "how it is cut makes no difference");
    let Ok(whole) = whole else { return };
    let is_json =
        |bytes| std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    assert!(is_json(json) && is_json(&whole));
    assert_eq!(rewritten([&whole[..]].into_iter()).as_ref(), Ok(&whole), "nothing is left to be hidden");
}

fn rewritten<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, Broken> {
    let names: Names = ["email", "date_of_birth"].into_iter().collect();
    let (mut rewriter, mut out) = (Rewriter::new(Arc::new(names)), Vec::new());
    for piece in pieces {
        rewriter.push(piece, &mut out)?;
    }
    rewriter.finish().map(|()| out)
}
