//! Mail and webhooks on the running gateway, by real servers that fail, hang and answer late.
//! Law: what happened is told once; a request never waits for it, and nothing secret is in a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::agent::{self, Reference};
use portcullis::audit::Suspension;
use portcullis::base::{Id, Number, Timestamp};
use portcullis::crypto::digest::unbase64;
use portcullis::notify::signature;
use portcullis::policy::approver::Group;
use portcullis::policy::{Approver, Approvers, Code};
use portcullis::store::Dialect;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::{Scene, scene_in};
use crate::agent_gate::routes;
use crate::page::page_of;
use crate::support::forms::Browser;
use crate::support::people::{TRUSTING, permission, role};
use crate::support::replica::{in_time, until};
use crate::support::smtp::{Smtp, Take};
use crate::support::tls::Pair;
use crate::support::{Act, Gateway, Replicas, Seen, Upstream};

const SECRET: &str = "whsec_cG9ydGN1bGxpcy1wb3J0Y3VsbGlzLXBvcnRjdWxsaXM=";
pub const SOON: Duration = Duration::from_secs(10);

pub fn private(folder: &TempDir, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

pub fn hook(folder: &TempDir, name: &str, receiver: &Upstream) -> String {
    let secret = private(folder, "hook.secret", SECRET);
    format!(
        "{{ name: {name}, url: 'http://{}/told', secret_file: '{secret}', events: [agent.suspended], allow_private: true, timeout: 10s }}",
        receiver.address
    )
}

pub fn mail_to(server: &Smtp) -> String {
    format!(
        "mail: {{ via: smtp, host: 127.0.0.1, port: {}, tls: none, from: gw@example.com, timeout: 10s }}\n",
        server.address.port()
    )
}

pub fn answered(status: u16) -> Act {
    Act::Answer(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").into_bytes())
}

impl Scene {
    /// Ada delegates, and somebody else stops what she delegated.
    pub async fn stop_one(&self, name: &str) -> i64 {
        let (number, _) = self.mint(&json!({"agent_id": name, "permissions": ["reports.read"]})).await;
        stop(&self.gateway, number).await;
        number
    }

    /// Moves time on, a little at a time, until it is so.
    async fn later(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        until(SOON, what, async || {
            self.clock.advance(Duration::from_secs(2));
            tokio::time::sleep(Duration::from_millis(100)).await;
            is_so()
        })
        .await;
    }
}

pub async fn stop(gateway: &Gateway, number: i64) {
    let reference = Reference::Number(Number(number));
    gateway
        .change(async |change| {
            let token = agent::find(change.tx(), reference).await.unwrap().unwrap();
            assert!(agent::suspend(change, token.delegation(), Suspension::Anomaly).await.unwrap());
        })
        .await;
}

pub fn checked(seen: &Seen) -> (Id, i64, Value) {
    let id: Id = seen.header("webhook-id").unwrap().parse().unwrap();
    let seconds: i64 = seen.header("webhook-timestamp").unwrap().parse().unwrap();
    let key = unbase64(&SECRET["whsec_".len()..]).unwrap();
    let at = Timestamp::from_millis(seconds * 1000);
    assert_eq!(seen.header("webhook-signature"), Some(signature(&key, id, at, &seen.body).as_str()));
    (id, seconds, serde_json::from_slice(&seen.body).unwrap())
}

#[tokio::test]
async fn mail_goes_out_encrypted_after_a_login_and_says_what_happened() {
    let folder = tempfile::tempdir().unwrap();
    let own = Pair::for_name("localhost");
    own.write(folder.path(), "mail");
    let server = Smtp::starttls(&own).await;
    let (ca, password) = (folder.path().join("mail.crt"), private(&folder, "mail.password", "hunter2\n"));
    let yaml = format!(
        "mail: {{ via: smtp, host: localhost, port: {}, tls: starttls, username: gw, password_file: '{password}', ca_file: '{}', from: gw@example.com }}\n",
        server.address.port(),
        ca.display()
    );
    let scene = scene_in(folder, &yaml).await;
    let number = scene.stop_one("Zoë's \"robot\"").await;
    until(SOON, "the mail", async || server.taken().len() == 1).await;
    let letter = &server.taken()[0];
    assert!(letter.was_encrypted);
    assert_eq!(letter.login.as_deref(), Some("AGd3AGh1bnRlcjI="), "the login of RFC 4616");
    assert_eq!(
        (letter.from.as_str(), &letter.to[..]),
        ("gw@example.com", &["ada@example.com".to_owned()][..])
    );
    assert_eq!(letter.header("Auto-Submitted"), Some("auto-generated"));
    assert!(letter.header("Message-ID").is_some_and(|id| id.ends_with("@example.com>")), "{}", letter.text);
    assert!(letter.header("From").is_some_and(|from| from.contains("<gw@example.com>")));
    assert!(letter.text.contains(&format!("token {number}")), "{}", letter.text);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.taken().len(), 1, "told once");
    let delivered = "portcullis_notices_total{channel=\"mail\",outcome=\"delivered\"}";
    until(SOON, "the mark", async || scene.gateway.metric(delivered) == 1).await;
}

#[tokio::test]
async fn a_mail_server_without_a_certificate_to_trust_gets_no_mail() {
    let folder = tempfile::tempdir().unwrap();
    let server = Smtp::starttls(&Pair::for_name("localhost")).await;
    let yaml = format!(
        "mail: {{ via: smtp, host: localhost, port: {}, from: gw@example.com }}\n",
        server.address.port()
    );
    let scene = scene_in(folder, &yaml).await;
    scene.stop_one("robot").await;
    let failed = "portcullis_notices_total{channel=\"mail\",outcome=\"failed\"}";
    until(SOON, "a failure", async || scene.gateway.metric(failed) == 1).await;
    assert!(server.taken().is_empty());
}

#[tokio::test]
async fn a_server_that_puts_mail_off_is_asked_again_and_one_that_refuses_it_is_not() {
    let server = Smtp::plain().await;
    server.next([Take::Refuse(451), Take::Accept, Take::Refuse(550)]);
    let scene = scene_in(tempfile::tempdir().unwrap(), &mail_to(&server)).await;
    scene.stop_one("first").await;
    scene.later("the second try", || server.taken().len() == 1).await;
    scene.stop_one("second").await;
    let given_up = "portcullis_notices_total{channel=\"mail\",outcome=\"given_up\"}";
    scene.later("giving up", || scene.gateway.metric(given_up) == 1).await;
    let rows = portcullis::audit::tail(&scene.gateway.running.app.db, 0, 1000).await.unwrap();
    let row = rows.iter().find(|row| row.code == "notice_given_up").expect("an audit row");
    assert!(!row.personal.to_string().contains("ada@"), "the server's words are not kept: {}", row.personal);
    assert_eq!(server.taken().len(), 1);
}

#[tokio::test]
async fn a_webhook_that_fails_is_called_again_with_a_fresh_signature_and_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let elsewhere = Upstream::start(|_| answered(200)).await;
    let moved =
        format!("HTTP/1.1 307 X\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", elsewhere.address);
    let count = Arc::clone(&calls);
    let receiver = Upstream::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => answered(500),
        1 => Act::Close,
        2 => Act::Answer(moved.clone().into_bytes()),
        _ => answered(204),
    })
    .await;
    let yaml = format!("webhooks: [ {} ]\n", hook(&folder, "ops", &receiver));
    let scene = scene_in(folder, &yaml).await;
    let number = scene.stop_one("robot").await;
    let mut all = Vec::new();
    for calls in 1..=4 {
        scene.later("the next call", || receiver.count() >= calls).await;
        all.push(checked(&receiver.last()));
    }
    assert!(all.iter().all(|(id, ..)| *id == all[0].0), "one notice has one id");
    assert!(all.windows(2).all(|pair| pair[0].1 < pair[1].1), "every try has its own moment");
    let told = &all[3].2;
    assert_eq!(told["type"], "agent.suspended");
    assert_eq!((&told["data"]["agent_id"], &told["data"]["reason"]), (&json!("robot"), &json!("ANOMALY")));
    assert_eq!(told["data"]["token"], number);
    let delivered = "portcullis_notices_total{channel=\"webhook\",outcome=\"delivered\"}";
    until(SOON, "the mark", async || scene.gateway.metric(delivered) == 1).await;
    assert_eq!((receiver.count(), elsewhere.count()), (4, 0), "a redirect leads nowhere");
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (stuck, well) = (Upstream::start(|_| Act::Hang).await, Upstream::start(|_| answered(200)).await);
    let yaml = format!("webhooks: [ {}, {} ]\n", hook(&folder, "a", &stuck), hook(&folder, "b", &well));
    let scene = scene_in(folder, &yaml).await;
    let all = async {
        for name in ["one", "two", "three"] {
            scene.stop_one(name).await;
        }
    };
    in_time(Duration::from_secs(5), all).await.expect("no request waited");
    until(SOON, "the others", async || well.count() == 3).await;
    assert!(stuck.count() <= 2, "one try after the other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_store_tell_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Upstream::start(|_| {
        Act::Pieces(vec![(
            Duration::from_millis(30),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        )])
    })
    .await;
    let yaml = format!(
        "permissions: [ {{ code: reports }}, {{ code: reports.read, parent: reports }} ]\nwebhooks: [ {} ]\n",
        hook(&folder, "ops", &receiver)
    );
    let both = Replicas::on(Dialect::Postgres, &yaml).await;
    let keys = both.here.application("web", &[]).await;
    let ada = both.here.user("ada", &keys).await;
    both.here.grant(ada.id, permission("reports")).await;
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    for n in 0..20_usize {
        let body = json!({"agent_id": format!("robot-{n}"), "permissions": ["reports.read"]});
        let minted = both.here.call("POST", "/ai/tokens/", &lines, &body).await.json();
        stop(both.nth(n), minted["id"].as_i64().unwrap()).await;
    }
    until(SOON, "all of them", async || receiver.count() >= 20).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.count(), 20);
}

#[tokio::test]
async fn a_gateway_that_dies_after_sending_repeats_it_under_the_same_id() {
    let server = Smtp::plain().await;
    server.next([Take::Hang]);
    let yaml = mail_to(&server).replace("10s", "30s") + "drain: { announce: 0s, grace: 1s }\n";
    let scene = scene_in(tempfile::tempdir().unwrap(), &yaml).await;
    scene.stop_one("robot").await;
    until(SOON, "the mail", async || server.taken().len() == 1).await;
    // It is sent and nobody knows: the answer never comes, and the process ends.
    let Scene { gateway: Gateway { running, folder, .. }, clock, .. } = scene;
    running.shutdown().await;
    assert_eq!(server.taken().len(), 1);
    clock.advance(Duration::from_mins(3));
    let again = Gateway::start_by(clock, folder, &yaml).await.unwrap();
    until(SOON, "the mail again", async || server.taken().len() == 2).await;
    let ids: Vec<_> =
        server.taken().iter().map(|letter| letter.header("Message-ID").unwrap().to_owned()).collect();
    assert_eq!(ids[0], ids[1]);
    drop(again);
}

#[tokio::test]
async fn an_approval_is_told_when_it_is_asked_for_decided_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let (server, receiver) = (Smtp::plain().await, Upstream::start(|_| answered(200)).await);
    let upstream = Upstream::echo().await;
    let all = "approval.requested, approval.decided, approval.expired, approval.executed";
    let hook = hook(&folder, "ops", &receiver).replace("agent.suspended", all);
    let yaml = format!("{TRUSTING}{}webhooks: [ {hook} ]\n{}", mail_to(&server), routes(&upstream));
    let scene = scene_in(folder, &yaml).await;
    let secret = "{\"iban\": \"FR76-SECRET\"}";
    let approval = scene.asked("finance bot", "/reports/7?key=SECRET", secret, None).await;
    until(SOON, "the question", async || server.taken().len() == 1 && receiver.count() == 1).await;
    let link = format!("http://{}{}", scene.gateway.public(), page_of(&approval));
    let letter = &server.taken()[0];
    assert_eq!(letter.to, ["ada@example.com"]);
    let body = letter.text.replace("=\n", "").replace("=3D", "=");
    assert!(body.contains(&link) && body.contains("finance bot") && !body.contains("SECRET"), "{body}");
    let told = checked(&receiver.last()).2;
    assert_eq!((&told["type"], &told["data"]["state"]), (&json!("approval.requested"), &json!("pending")));
    assert_eq!((&told["data"]["url"], &told["data"]["agent_id"]), (&json!(link), &json!("finance bot")));
    assert!(!told.to_string().contains("SECRET"));
    let mut browser = Browser::new(&scene.gateway);
    browser.log_in("ada").await;
    assert_eq!(browser.post(&format!("{}deny/", page_of(&approval)), &[]).await.status, 303);
    until(SOON, "the decision", async || receiver.count() == 2).await;
    assert_eq!(checked(&receiver.last()).2["data"]["state"], "denied");
    let late = scene.asked("late bot", "/reports/8", "{}", None).await;
    until(SOON, "the second question", async || server.taken().len() == 2 && receiver.count() == 3).await;
    scene.clock.advance(Duration::from_mins(11));
    until(SOON, "the end", async || server.taken().len() == 3 && receiver.count() == 4).await;
    let told = checked(&receiver.last()).2;
    assert_eq!((&told["type"], &told["data"]["approval"]), (&json!("approval.expired"), &json!(late.id)));
    assert_eq!(server.taken()[2].to, ["ada@example.com"], "Ada was told of the end, and not of her own no");
}

#[tokio::test]
async fn those_who_decide_by_a_role_are_asked() {
    let server = Smtp::plain().await;
    let upstream = Upstream::echo().await;
    let yaml = format!(
        "{}{}roles: [ {{ code: finance }}, {{ code: lead, inherits: [finance] }} ]\n",
        mail_to(&server),
        routes(&upstream)
    );
    let scene = scene_in(tempfile::tempdir().unwrap(), &yaml).await;
    for (name, code) in [("bob", "finance"), ("cleo", "lead"), ("dan", "viewer")] {
        let id = scene.gateway.account(name, |_| {}).await;
        scene.gateway.grant(id, role(code)).await;
    }
    let finance = Approver::Role(Code::parse("finance").unwrap());
    let approvers = Approvers(vec![Group { any_of: vec![finance], need: 1 }]);
    scene.asked_of(approvers, "bot", "/reports/7", "{}", None).await;
    until(SOON, "two questions", async || server.taken().len() == 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut asked: Vec<_> = server.taken().iter().map(|letter| letter.to.join(",")).collect();
    asked.sort();
    assert_eq!(asked, ["bob@example.com", "cleo@example.com"]);
}
