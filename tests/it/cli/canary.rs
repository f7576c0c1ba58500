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
use crate::codes::{code_in, text_of};
use crate::support::people::elsewhere;
use crate::support::replica::until;
use crate::support::smtp::Smtp;
use crate::support::{Act, Upstream};

const PASSWORD: &str = "Ample-Margin-42-Kites";
const PAGE: &str = "https://app.example.com/enter";

/// Ada's gateway, which logs all that it can into a file.
fn telling(routes: &str) -> (Place, Gateway) {
    let place = Place::with(&format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: [127.0.0.1/32] }}
applications: {{ required: nowhere }}
telemetry: {{ log: json, level: debug }}
{routes}"
    ));
    place.write("sms.token", "0123456789abcdef0123456789abcdef");
    place.close("sms.token");
    let create = "user create ada@example.com --phone +33612345678 --verified --password-stdin";
    place.run_with(create, PASSWORD).good();
    place.run("user grant ada@example.com --permission users.view").good();
    let log = Stdio::from(File::create(place.path().join("log")).unwrap());
    let gateway = Gateway::start_logging_to(&place, log);
    (place, gateway)
}

/// All that is left of a gateway: its metrics, its trail, its store and its log.
fn kept(place: &Place, gateway: Gateway) -> Vec<(String, String)> {
    // Longer than what is noted of requests waits to be written.
    std::thread::sleep(Duration::from_secs(4));
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

/// The words of the mail that says this, once it came.
async fn sent(mail: &Smtp, says: &str) -> String {
    let found = || mail.taken().iter().map(text_of).find(|text| text.contains(says));
    until(Duration::from_secs(10), "the mail", async || found().is_some()).await;
    found().expect("a mail")
}

/// The token of the link in a mail.
fn token_of(letter: &str) -> String {
    let (_, rest) = letter.split_once("token=").expect("a link");
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

/// A gateway that sends mail and messages to servers of the test.
async fn sending(upstream: &Upstream) -> (Place, Gateway, Smtp, Upstream) {
    let mail = Smtp::plain().await;
    let created = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";
    let sms = Upstream::start(move |_| Act::Answer(created.as_bytes().to_vec())).await;
    let (place, gateway) = telling(&format!(
        "mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com }}
sms: {{ via: twilio, account: AC42, token_file: sms.token, from: '+15005550006', api: 'http://{}' }}
login: {{ otp: {{ log_in: true }}, magic_link: {{ targets: ['{PAGE}'] }}, reset: {{ link: 'https://app.example.com/reset' }} }}
upstreams: {{ app: {{ servers: ['{}'] }} }}
routes: [ {{ name: mine, match: {{ path: /mine }}, upstream: app, allow: signed_in, websocket: true }} ]
",
        mail.address.port(),
        sms.address,
        upstream.address
    ));
    (place, gateway, mail, sms)
}

/// Six digits stand in many numbers: alone they are looked for.
fn alone_nowhere(kept: &[(String, String)], codes: [String; 3]) {
    for code in codes {
        let alone = regex::Regex::new(&format!(r"(^|[^0-9A-Za-z_.-]){code}($|[^0-9A-Za-z_.-])")).unwrap();
        for (place, text) in kept.iter().filter(|(place, _)| !place.contains("/data/")) {
            assert!(!alone.is_match(text), "{code} stands in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_link_key_or_ticket_stays_anywhere_whether_it_was_used_or_refused() {
    let upstream = Upstream::echo().await;
    let (place, gateway, mail, sms) = sending(&upstream).await;
    let mut hidden = vec![PASSWORD.to_owned()];
    let errors = std::cell::RefCell::new(Vec::new());
    let good = async |path: &str, user: &str, body: Value| {
        let lines = [elsewhere(), format!("Authorization: Bearer {user}")];
        let lines = if user.is_empty() { &lines[..1] } else { &lines[..] };
        api(&gateway, path, lines, &body).await
    };
    let ada = json!({"email": "ada@example.com"});
    let phone = json!({"phone_country_code": "33", "phone_number": "612345678"});
    let with = |of: &Value, more: Value| {
        let mut all = of.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let entered = good("/login/email/", "", with(&ada, json!({"password": PASSWORD}))).await;
    let user = text(&entered, "access_token");
    hidden.extend([user.clone(), text(&entered, "refresh_token")]);
    // Each is refused once in a form that is nearly right, and then used.
    let both = async |path: &str, user: &str, nearly: Value, right: Value| {
        let lines = [elsewhere(), format!("Authorization: Bearer {user}")];
        let lines = if user.is_empty() { &lines[..1] } else { &lines[..] };
        let full = format!("/api/v1/auth{path}");
        let refused = send(&gateway, &full, lines, &nearly.to_string()).await.expect("an answer");
        assert!(refused.status >= 400, "{path}: {}", refused.text());
        errors.borrow_mut().push((format!("the refusal of {path}"), refused.text()));
        api(&gateway, path, lines, &right).await
    };
    let other = |code: &str| if code == "000000" { "000001" } else { "000000" };

    good("/otp/request/", &user, json!({"otp_type": "email"})).await;
    let code = code_in(&sent(&mail, "Your code for").await);
    both("/otp/verify/email/", &user, json!({"code": other(&code)}), json!({"code": code})).await;
    good("/login/otp/request/", "", phone.clone()).await;
    until(Duration::from_secs(10), "the message", async || sms.count() == 1).await;
    let message = String::from_utf8(sms.last().body).unwrap();
    let by_phone = code_in(message.split_once("Body=").expect("a text").1);
    let (wrong, right) = (json!({"otp_code": other(&by_phone)}), json!({"otp_code": by_phone}));
    let by_code = both("/login/otp/verify/", "", with(&phone, wrong), with(&phone, right)).await;
    good("/magic-link/request/", "", with(&ada, json!({"validation_url": PAGE}))).await;
    let link = token_of(&sent(&mail, "/enter?token=").await);
    let by_link =
        both("/magic-link/verify/", "", json!({"token": format!("{link}x")}), json!({"token": link})).await;
    let made = good("/api-keys/", &user, json!({"name": "nightly", "password": PASSWORD})).await;
    let key = text(&made, "key");
    for line in [format!("X-API-Key: {key}"), format!("X-API-Key: {key}x")] {
        let answer = send(&gateway, "/mine", &[line], "{}").await.expect("an answer");
        errors.borrow_mut().push(("an answer to a key".to_owned(), answer.text()));
    }
    let ticket = text(&good("/ws-ticket/", &user, json!({})).await, "ticket");
    let opened = Gateway::get(gateway.public, &format!("/mine?ticket={ticket}"));
    errors.borrow_mut().push(("an answer to a ticket".to_owned(), opened.1));
    good("/request-account-deletion/", &user, json!({"password": PASSWORD})).await;
    let leaving = token_of(&sent(&mail, "/portcullis/deletion/?token=").await);
    let (wrong, right) = (json!({"token": format!("x{leaving}")}), json!({"token": leaving}));
    both("/confirm-account-deletion/", "", wrong, right).await;
    good("/cancel-account-deletion/", &user, json!({"password": PASSWORD})).await;
    let fresh = good("/refresh/", "", json!({"refresh_token": text(&by_link, "refresh_token")})).await;
    let new = "Another-Margin-43-Kites";
    good("/password/reset/request/", "", ada.clone()).await;
    let letter = sent(&mail, "/reset?token=").await;
    let (reset, digits) = (token_of(&letter), code_in(&letter));
    let wrong = json!({"token": format!("{reset}x"), "new_password": new});
    both("/password/reset/confirm/", "", wrong, json!({"token": reset, "new_password": new})).await;

    for answer in [&by_code, &by_link, &fresh] {
        hidden.extend(["access_token", "refresh_token"].map(|name| text(answer, name)));
    }
    hidden.extend([link, key, ticket, leaving, reset, new.to_owned()]);
    let mut kept = kept(&place, gateway);
    kept.extend(errors.into_inner());
    let trail = kept[1].1.clone();
    for code in ["code_refused", "password_change", "api_key_created", "deletion_request_confirmed"] {
        assert!(trail.contains(code), "{code}: {trail}");
    }
    nowhere(&kept, hidden);
    alone_nowhere(&kept, [code, by_phone, digits]);
}
