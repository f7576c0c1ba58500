//! Mail by SendGrid and Mailgun, to servers of the tests that listen as theirs do.
//! Law: what people are sent reaches them as it was written, once where the provider answers at all.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::base::{Clock, SystemClock, SystemRandom, TestClock};
use portcullis::{config, crypto};
use serde_json::{Value, json};

use crate::codes::code_in;
use crate::support::people::{PASSWORD, elsewhere};
use crate::support::replica::until;
use crate::support::upstream::Seen;
use crate::support::{Act, Gateway, Upstream};

const SOON: Duration = Duration::from_secs(5);
const KEY: &str = "SG.0123456789abcdef";

fn says(status: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

/// A gateway that sends mail by this provider, and somebody who has just registered there.
async fn registered(via: &str, provider: &Upstream) -> (Gateway, Arc<TestClock>) {
    let folder = tempfile::tempdir().unwrap();
    config::make_seal_key(&folder.path().join("seal.key"), &SystemRandom).unwrap();
    let key = folder.path().join("mail.key");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let yaml = format!(
        "preset: medium\nmail: {{ via: {via}, password_file: '{}', api: 'http://{}', from: gw@example.com }}\n",
        key.display(),
        provider.address
    );
    let clock = Arc::new(TestClock::at(SystemClock.now()));
    let started = Gateway::start_by(clock.clone(), folder, &yaml).await;
    let gateway = started.unwrap_or_else(|error| panic!("{error}"));
    let keys = gateway.application("web", &[]).await;
    let lines = [&keys.lines()[..], &[elsewhere()]].concat();
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let made = gateway.call("POST", "/register/", &lines, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (gateway, clock)
}

async fn first(provider: &Upstream) -> Seen {
    until(SOON, "the mail", async || provider.count() > 0).await;
    provider.seen().remove(0)
}

#[tokio::test]
async fn sendgrid_is_given_the_mail_and_told_to_change_nothing() {
    let provider = Upstream::start(|_| says("202 Accepted")).await;
    let _running = registered("sendgrid", &provider).await;
    let seen = first(&provider).await;
    assert_eq!(seen.target(), "/v3/mail/send");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["personalizations"], json!([{"to": [{"email": "ada@example.com"}]}]));
    assert_eq!(body["from"], json!({"email": "gw@example.com", "name": "Portcullis"}));
    assert_eq!(code_in(body["content"][0]["value"].as_str().unwrap()).len(), 6);
    assert!(body["headers"]["Message-ID"].as_str().unwrap().ends_with("@example.com>"));
    let clicks = &body["tracking_settings"]["click_tracking"];
    assert_eq!(clicks, &json!({"enable": false, "enable_text": false}), "a link stays the link it is");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(provider.count(), 1, "once");
}

#[tokio::test]
async fn mailgun_is_given_the_mail_for_its_domain() {
    let provider = Upstream::start(|_| says("200 OK")).await;
    let _running = registered("mailgun, domain: mg.example.com", &provider).await;
    let seen = first(&provider).await;
    assert_eq!(seen.target(), "/v3/mg.example.com/messages");
    let login = format!("Basic {}", crypto::digest::base64(format!("api:{KEY}").as_bytes()));
    assert_eq!(seen.header("authorization"), Some(login.as_str()));
    let form: std::collections::HashMap<String, String> =
        form_urlencoded::parse(&seen.body).into_owned().collect();
    assert_eq!(
        (form["to"].as_str(), form["from"].as_str()),
        ("ada@example.com", "Portcullis <gw@example.com>")
    );
    assert_eq!(form["o:tracking-clicks"], "no");
    assert!(form["h:Message-Id"].starts_with('<') && !form["subject"].is_empty());
    assert_eq!(code_in(&form["text"]).len(), 6);
}

#[tokio::test]
async fn what_a_provider_puts_off_comes_again_and_what_it_refuses_does_not() {
    for (answer, comes_again) in
        [("503 Later", true), ("401 Who", true), ("400 Bad", false), ("302 Found", true)]
    {
        let told = Arc::new(AtomicUsize::new(0));
        let provider = Upstream::start({
            let told = Arc::clone(&told);
            move |_| {
                if told.fetch_add(1, Ordering::Relaxed) == 0 { says(answer) } else { says("202 Accepted") }
            }
        })
        .await;
        let (gateway, clock) = registered("sendgrid", &provider).await;
        let first = first(&provider).await;
        let is_given_up = async || {
            let rows = portcullis::audit::tail(&gateway.running.app.db, 0, 1000).await.unwrap();
            rows.iter().any(|row| row.code == "notice_given_up")
        };
        if comes_again {
            until(SOON, answer, async || {
                clock.advance(Duration::from_secs(1));
                provider.count() == 2
            })
            .await;
            let again = &provider.seen()[1];
            assert_eq!(again.body, first.body, "{answer}: the same mail, with the same id");
            assert!(!is_given_up().await, "{answer}");
        } else {
            until(SOON, answer, is_given_up).await;
            assert_eq!(provider.count(), 1, "{answer}");
        }
        let metrics = gateway.running.app.metrics.render();
        assert!(!metrics.contains(KEY) && !metrics.contains("ada@example.com"));
    }
}
