//! What somebody proves who they are with, on a gateway that logs as much as it can.
//!
//! Law: none of it stands in the log, in the store, in the metrics or in the audit trail afterwards.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use portcullis::base::{Clock, SystemClock};
use portcullis::factor::Seed;
use serde_json::{Value, json};

use super::approved::{api, send, text};
use super::gateway::Gateway;
use super::{GOOD, Place};
use crate::agent_hold::confirmed;
use crate::support::Upstream;
use crate::support::replica::until;

const PASSWORD: &str = "Ample-Margin-42-Kites";

/// Ada's gateway, which logs all that it can into a file.
fn telling(routes: &str) -> (Place, Gateway) {
    let place = Place::with(&format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
applications: {{ required: nowhere }}
telemetry: {{ log: json, level: debug }}
{routes}"
    ));
    place.run_with("user create ada@example.com --verified --password-stdin", PASSWORD).good();
    place.run("user grant ada@example.com --permission users.view").good();
    let log = Stdio::from(File::create(place.path().join("log")).unwrap());
    let gateway = Gateway::start_logging_to(&place, log);
    (place, gateway)
}

/// All that is left of a gateway: its metrics, its trail, its store and its log.
fn kept(place: &Place, gateway: Gateway) -> Vec<(String, String)> {
    // Longer than what is noted of requests waits to be written.
    std::thread::sleep(Duration::from_millis(1500));
    let metrics = Gateway::get(gateway.admin, "/metrics").1;
    drop(gateway);
    let trail = place.run("audit tail --json").good();
    let mut kept = vec![("metrics".to_owned(), metrics), ("trail".to_owned(), trail)];
    let files = std::fs::read_dir(place.path().join("data")).unwrap();
    for path in files.map(|file| file.unwrap().path()).chain([place.path().join("log")]) {
        let bytes = std::fs::read(&path).unwrap();
        kept.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(kept.len() >= 4 && kept.iter().all(|(_, text)| !text.is_empty()), "something was kept");
    kept
}

fn nowhere(kept: &[(String, String)], hidden: impl IntoIterator<Item = String>) {
    for hidden in hidden {
        for (place, text) in kept {
            assert!(!text.contains(&hidden), "{hidden} stands in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_proves_who_somebody_is_stays_anywhere_in_the_clear() {
    let (place, gateway) = telling(GOOD);
    let mut login = json!({"email": "ada@example.com", "password": PASSWORD});
    let entered = api(&gateway, "/login/email/", &[], &login).await;
    let human = [format!("Authorization: Bearer {}", text(&entered, "access_token"))];
    let begun = api(&gateway, "/2fa/setup/", &human, &json!({})).await;
    let seed = Seed::parse(&text(&begun, "secret")).unwrap();
    let code = seed.code_at(SystemClock.now());
    let proved = api(&gateway, "/2fa/confirm/", &human, &json!({"code": code.expose()})).await;
    // Another session took the place of the first.
    let human = [format!("Authorization: Bearer {}", text(&proved, "access_token"))];
    let codes: Vec<String> = serde_json::from_value(begun["backup_codes"].clone()).unwrap();
    for (code, status) in [(&codes[0], 200), (&codes[0], 401), (&"f".repeat(16), 401)] {
        login["totp_code"] = Value::from(code.as_str());
        let answer = send(&gateway, "/api/v1/auth/login/email/", &[], &login.to_string()).await;
        assert_eq!(answer.expect("an answer").status, status);
    }
    let off = json!({"code": codes[1], "password": PASSWORD});
    assert_eq!(api(&gateway, "/2fa/disable/", &human, &off).await["is_enabled"], false);
    let kept = kept(&place, gateway);
    let trail = &kept[1].1;
    assert!(trail.contains("2fa_disabled") && trail.contains("2fa_backup_used"), "{trail}");
    let (secret, uri) = (text(&begun, "secret"), text(&begun, "provisioning_uri"));
    let bare = codes.iter().map(|code| code.replace('-', ""));
    let of = |answer: &Value| ["access_token", "refresh_token"].map(|name| text(answer, name));
    let tokens = [of(&entered), of(&proved)].concat();
    let hidden =
        [PASSWORD.to_owned(), secret, uri].into_iter().chain(tokens).chain(bare).chain(codes.clone());
    nowhere(&kept, hidden);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_the_token_of_an_agent_nor_that_of_an_approval_stays_anywhere() {
    let upstream = Upstream::echo().await;
    let routes = format!(
        "upstreams: {{ app: {{ servers: ['{}'], breaker: 'off' }} }}
routes:
  - {{ name: act, match: {{ path: '/act' }}, upstream: app, allow: signed_in, agents: {{ permission: users.view, hold: always }} }}
  - {{ name: sealed, match: {{ path: '/sealed' }}, upstream: app, allow: signed_in, agents: {{ permission: users.view, hold: always, mode: sealed }} }}
",
        upstream.address
    );
    let (place, gateway) = telling(&routes);
    let entered =
        api(&gateway, "/login/email/", &[], &json!({"email": "ada@example.com", "password": PASSWORD})).await;
    let human = [format!("Authorization: Bearer {}", text(&entered, "access_token"))];
    let minted = api(&gateway, "/ai/tokens/", &human, &json!({"permissions": ["users.view"]})).await;
    let agent = format!("Authorization: AgentBearer {}", text(&minted, "token"));
    let mut hidden = vec![text(&minted, "token"), text(&entered, "access_token")];
    for path in ["/act", "/sealed"] {
        let held = send(&gateway, path, std::slice::from_ref(&agent), "{}").await.expect("an answer");
        assert_eq!(held.status, 202, "{}", held.text());
        let named = text(&held.json(), "confirmation_token");
        let other = send(&gateway, path, &[agent.clone(), confirmed(&named)], "[]").await.expect("an answer");
        assert_eq!(other.code(), "APPROVAL_MISMATCH");
        api(&gateway, &format!("/ai/pending-actions/{named}/confirm/"), &human, &json!({})).await;
        if path == "/act" {
            let done =
                send(&gateway, path, &[agent.clone(), confirmed(&named)], "{}").await.expect("an answer");
            assert_eq!(done.status, 200, "{}", done.text());
        }
        hidden.push(named);
    }
    until(Duration::from_secs(5), "both were sent", async || upstream.count() == 2).await;
    // Somebody else's and nobody's, which are refused.
    for line in [agent.clone() + "x", agent.to_lowercase()] {
        let refused = send(&gateway, "/act", &[line, confirmed(&hidden[2])], "{}").await.expect("an answer");
        assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
    }
    for seen in upstream.seen() {
        assert!(hidden.iter().all(|hidden| !seen.head.contains(hidden)), "it goes no further: {}", seen.head);
    }
    let kept = kept(&place, gateway);
    let trail = &kept[1].1;
    for code in ["agent_token_created", "approval_requested", "approval_approved", "approval_claimed"] {
        assert!(trail.contains(code), "{code}: {trail}");
    }
    nowhere(&kept, hidden);
}
