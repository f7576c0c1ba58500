//! What changes the digest of a route's policy, and what does not.

use std::sync::Arc;
use std::time::Duration;

use crate::approval::policy_digest;
use crate::config::{self, Config, Route};

/// A route that says something about everything.
const YAML: &str = "
permissions: [ { code: pay }, { code: read } ]
roles: [ { code: finance }, { code: legal } ]
upstreams: { up: { servers: ['127.0.0.1:9'] }, other: { servers: ['127.0.0.1:9'] } }
routes:
  - name: pay
    match: { host: a.example, path: '/pay/{id}/**', methods: [POST] }
    upstream: up
    allow: { all: [ { role: finance }, { any: [ { permission: pay }, { max_age: 5m } ] }, { not: { group: guests } } ] }
    agents:
      permission: pay
      hold: { when: { pointer: /amount, above: 1000 } }
      approvers: { all_of: [ { any_of: [ { delegator: true } ] }, { any_of: [ { role: finance }, { role: legal } ] } ] }
      decide_within: 10m
      execute_within: 5m
      wait: 20s
      bound_headers: [X-Tenant, X-Region]
      redact: { keys: [email, phone], buffer: 64KiB, on_other: pass }
      cost: { flat_usd: 0.01 }
    limit: { requests: 100, per: 1m }
    body: 1MiB
    timeouts: { connect: 1s }
    assertion: request
    rewrite: { strip_prefix: /pay, add_prefix: /v2, host: b.example }
    target: { encoded_slash: true }
    audit: required
  - { name: rest, match: { path: /rest }, upstream: up, allow: signed_in }
  - { name: others, match: { path: /others }, upstream: other, allow: signed_in }
groups: [ { code: guests } ]
";

fn load(yaml: &str) -> Arc<Config> {
    let loaded = config::load_text(&format!("preset: development\nstore: 'sqlite://x'\n{yaml}"));
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

fn digest(yaml: &str) -> String {
    let config = load(yaml);
    policy_digest(&config, &config.routes[0])
}

fn with(from: &str, to: &str) -> String {
    assert!(YAML.contains(from), "{from}");
    digest(&YAML.replacen(from, to, 1))
}

#[test]
fn a_new_version_of_the_gateway_makes_the_same_digest_of_the_same_route() {
    assert_eq!(digest(YAML), "381f896f181672a586fbfd966da9a0f81a762c076c4a2b5ec4d79fc83ce32c4e");
}

#[test]
fn whatever_matters_to_an_approval_changes_the_digest() {
    let own = digest(YAML);
    for (from, to) in [
        ("name: pay", "name: pays"),
        ("host: a.example", "host: c.example"),
        ("host: a.example, ", ""),
        ("/pay/{id}/**", "/pay/{id}"),
        ("/pay/{id}/**", "/pay/{number}/**"),
        ("methods: [POST]", "methods: [POST, PUT]"),
        ("upstream: up", "upstream: other"),
        ("{ role: finance }, { any", "{ role: legal }, { any"),
        ("{ permission: pay }", "{ permission: read }"),
        ("max_age: 5m", "max_age: 6m"),
        ("{ not: { group: guests } }", "{ group: guests }"),
        ("any: [ { permission", "all: [ { permission"),
        ("permission: pay\n", "permission: read\n"),
        ("above: 1000", "above: 1001"),
        ("above: 1000", "at_least: 1000"),
        ("above: 1000", "not_in: [1000]"),
        ("above: 1000", "not_in: ['1000']"),
        ("pointer: /amount", "pointer: /sum"),
        ("{ when: { pointer: /amount, above: 1000 } }", "always"),
        ("{ delegator: true }", "{ role: legal }"),
        ("{ role: legal } ] } ] }", "{ role: legal } ], need: 2 } ] }"),
        ("{ any_of: [ { delegator: true } ] }, ", ""),
        ("decide_within: 10m", "decide_within: 11m"),
        ("execute_within: 5m", "execute_within: 6m"),
        ("wait: 20s", "mode: sealed"),
        ("wait: 20s", "replay_result: true"),
        ("wait: 20s", "idempotent: true"),
        ("[X-Tenant, X-Region]", "[X-Tenant]"),
        ("[email, phone]", "[email]"),
        ("keys: [email, phone], ", ""),
        ("on_other: pass", "on_other: refuse"),
        ("redact: { keys: [email, phone], buffer: 64KiB, on_other: pass }", "redact: off"),
        ("flat_usd: 0.01", "flat_usd: 0.02"),
        ("{ flat_usd: 0.01 }", "{ llm: openai, prices: { m: { input: 1, output: 2 } } }"),
        ("assertion: request", "assertion: identity"),
        ("strip_prefix: /pay, ", ""),
        ("add_prefix: /v2", "add_prefix: /v3"),
        ("host: b.example", "host: c.example"),
        ("encoded_slash: true", "encoded_slash: false"),
        ("encoded_slash: true", "encoded_slash: true, params: true"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:10']"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:9', '127.0.0.1:10']"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:9'], host: server"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:9'], host: b.example"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:9'], tls: { sni: b.example }"),
    ] {
        assert_ne!(with(from, to), own, "{from} -> {to}");
    }
    let priced =
        |prices: &str| with("{ flat_usd: 0.01 }", &format!("{{ llm: openai, prices: {{ {prices} }} }}"));
    let all = ["m: { input: 1, output: 2 }", "m: { input: 2, output: 1 }", "n: { input: 1, output: 2 }"];
    let digests: std::collections::BTreeSet<_> = all.into_iter().map(priced).collect();
    assert_eq!(digests.len(), all.len());
    let anyone = with("allow: { all", "identity: optional\n    allow: anyone\n#   allow: { all");
    let unread = with("allow: { all", "identity: off\n    allow: anyone\n#   allow: { all");
    assert!(anyone != own && unread != own && anyone != unread);
}

#[test]
fn what_all_routes_hide_counts_where_a_route_says_nothing_else() {
    let all = |redact: &str| {
        digest(
            &YAML.replace("      redact: { keys: [email, phone], buffer: 64KiB, on_other: pass }\n", redact),
        )
    };
    let agents = |pii: &str, redact: &str| {
        digest(&format!(
            "agents: {{ redact_pii: {pii}, redact: {{ keys: [{redact}], buffer: 64KiB, on_other: refuse }} }}\n{}",
            YAML.replace("      redact: { keys: [email, phone], buffer: 64KiB, on_other: pass }\n", "")
        ))
    };
    assert_eq!(agents("false", "email"), all(""), "nothing is hidden");
    assert_ne!(agents("true", "email"), all(""));
    assert_ne!(agents("true", "email"), agents("true", "email, iban"));
    assert_eq!(agents("true", "email, iban"), agents("true", "iban, email"));
}

#[test]
fn how_it_is_written_and_how_requests_are_handled_do_not() {
    let own = digest(YAML);
    for (from, to) in [
        ("[X-Tenant, X-Region]", "[x-region, x-tenant]"),
        ("[ { role: finance }, { role: legal } ]", "[ { role: legal }, { role: finance } ]"),
        ("[ { permission: pay }, { max_age: 5m } ]", "[ { max_age: 300s }, { permission: pay } ]"),
        ("[email, phone]", "[phone, email]"),
        ("above: 1000", "above: 1000.0"),
        ("wait: 20s", "wait: 10s"),
        ("requests: 100", "requests: 7"),
        ("body: 1MiB", "body: 2MiB"),
        ("buffer: 64KiB", "buffer: 32KiB"),
        ("connect: 1s", "connect: 2s"),
        ("audit: required", "cors: off"),
        ("up: { servers: ['127.0.0.1:9']", "up: { servers: ['127.0.0.1:9'], retries: 0, breaker: 'off'"),
        ("other: { servers: ['127.0.0.1:9']", "other: { servers: ['127.0.0.1:10']"),
    ] {
        assert_eq!(with(from, to), own, "{from} -> {to}");
    }
    let alone = with(
        "      approvers: {",
        "      approvers: { any_of: [ { delegator: true } ] }\n#     approvers: {",
    );
    assert_eq!(alone, with("      approvers: {", "#     approvers: {"), "what is said is what holds unsaid");
    let config = load(YAML);
    let other = Route {
        held_body: 1,
        timeouts: config::RouteTimeouts { read: Some(Duration::ZERO), ..Default::default() },
        ..config.routes[0].clone()
    };
    assert_eq!(policy_digest(&config, &other), own);
}
