//! What somebody proves who they are with, on a gateway that logs as much as it can.
//!
//! Law: none of it stands in the log, in the store, in the metrics or in the audit trail afterwards.

use std::fs::File;
use std::process::Stdio;

use portcullis::base::{Clock, SystemClock};
use portcullis::factor::Seed;
use serde_json::{Value, json};

use super::approved::{api, send, text};
use super::gateway::Gateway;
use super::{GOOD, Place};

const PASSWORD: &str = "Ample-Margin-42-Kites";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_proves_who_somebody_is_stays_anywhere_in_the_clear() {
    let place = Place::with(&format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
applications: {{ required: nowhere }}
telemetry: {{ log: json, level: debug }}
{GOOD}"
    ));
    place.run_with("user create ada@example.com --verified --password-stdin", PASSWORD).good();
    let log = place.path().join("log");
    let gateway = Gateway::start_logging_to(&place, Stdio::from(File::create(&log).unwrap()));
    let mut login = json!({"email": "ada@example.com", "password": PASSWORD});
    let entered = api(&gateway, "/login/email/", &[], &login).await;
    let human = [format!("Authorization: Bearer {}", text(&entered, "access_token"))];
    let begun = api(&gateway, "/2fa/setup/", &human, &json!({})).await;
    let seed = Seed::parse(&text(&begun, "secret")).unwrap();
    let code = seed.code_at(SystemClock.now());
    api(&gateway, "/2fa/confirm/", &human, &json!({"code": code.expose()})).await;
    let codes: Vec<String> = serde_json::from_value(begun["backup_codes"].clone()).unwrap();
    for (code, status) in [(&codes[0], 200), (&codes[0], 401), (&"f".repeat(16), 401)] {
        login["totp_code"] = Value::from(code.as_str());
        let answer = send(&gateway, "/api/v1/auth/login/email/", &[], &login.to_string()).await;
        assert_eq!(answer.expect("an answer").status, status);
    }
    let off = json!({"code": codes[1], "password": PASSWORD});
    assert_eq!(api(&gateway, "/2fa/disable/", &human, &off).await["is_enabled"], false);
    let metrics = Gateway::get(gateway.admin, "/metrics").1;
    drop(gateway);
    let trail = place.run("audit tail --json").good();
    assert!(trail.contains("2fa_disabled") && trail.contains("2fa_backup_used"), "{trail}");

    let mut kept = vec![("metrics".to_owned(), metrics), ("trail".to_owned(), trail)];
    let files = std::fs::read_dir(place.path().join("data")).unwrap();
    for path in files.map(|file| file.unwrap().path()).chain([log]) {
        kept.push((
            path.display().to_string(),
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
        ));
    }
    assert!(kept.len() >= 4 && kept.iter().all(|(_, text)| !text.is_empty()), "something was kept");
    let (secret, uri) = (text(&begun, "secret"), text(&begun, "provisioning_uri"));
    let bare = codes.iter().map(|code| code.replace('-', ""));
    let tokens = [text(&entered, "access_token"), text(&entered, "refresh_token")];
    let hidden =
        [PASSWORD.to_owned(), secret, uri].into_iter().chain(tokens).chain(bare).chain(codes.clone());
    for hidden in hidden {
        for (place, text) in &kept {
            assert!(!text.contains(&hidden), "{hidden} stands in {place}");
        }
    }
}
