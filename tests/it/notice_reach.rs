//! Whom notices reach, and what operators learn of that before and while something is to be told.
//! Law: mail goes to nobody who has not shown that the address is theirs; looking sends nothing.

use std::sync::Arc;
use std::time::Duration;

use portcullis::base::Clock as _;
use portcullis::notify::{self, Checked};
use portcullis::policy::Code;
use portcullis::policy::approver::{Approver, Approvers, Group};

use crate::agent::scene_in;
use crate::agent_gate::routes;
use crate::notices::{SOON, answered, hook, mail_to, private};
use crate::support::people::role;
use crate::support::replica::until;
use crate::support::smtp::{Letter, Smtp, Take};
use crate::support::tls::Pair;
use crate::support::{Gateway, Upstream};

#[tokio::test]
async fn mail_goes_to_verified_addresses_and_the_page_to_all() {
    let (server, upstream) = (Smtp::plain().await, Upstream::echo().await);
    let yaml = format!("{}{}roles: [ {{ code: finance }} ]\n", mail_to(&server), routes(&upstream));
    let scene = scene_in(tempfile::tempdir().unwrap(), &yaml).await;
    for (name, is_verified) in [("bob", true), ("eve", false)] {
        let id = scene.gateway.account(name, |new| new.is_verified = is_verified).await;
        scene.gateway.grant(id, role("finance")).await;
    }
    let finance = Approver::Role(Code::parse("finance").unwrap());
    let approvers = Approvers(vec![Group { any_of: vec![finance], need: 1 }]);
    scene.asked_of(approvers, "bot", "/reports/7", "{}", None).await;
    until(SOON, "a question", async || !server.taken().is_empty()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked: Vec<_> = server.taken().iter().map(|letter| letter.to.join(",")).collect();
    assert_eq!(asked, ["bob@example.com"], "anybody can write down an address");
}

async fn outcomes(gateway: &Gateway) -> Vec<(String, Result<(), String>)> {
    let all = notify::check(&gateway.running.app.config()).await;
    all.into_iter().map(|Checked { name, outcome }| (name, outcome.map(drop))).collect()
}

#[tokio::test]
async fn whoever_looks_learns_whether_notices_would_go_out_and_none_does() {
    let folder = tempfile::tempdir().unwrap();
    let own = Pair::for_name("localhost");
    own.write(folder.path(), "mail");
    let server = Smtp::starttls(&own).await;
    let receiver = Upstream::start(|_| answered(200)).await;
    let (ca, password) = (folder.path().join("mail.crt"), private(&folder, "mail.password", "hunter2\n"));
    let mail = format!(
        "mail: {{ via: smtp, host: localhost, port: {}, username: gw, password_file: '{password}', ca_file: '{}', from: gw@example.com }}\n",
        server.address.port(),
        ca.display()
    );
    let there = hook(&folder, "there", &receiver);
    let address = receiver.address.to_string();
    let named = |name: &str| there.replace("name: there", &format!("name: {name}"));
    let gone = named("gone").replace(&address, "127.0.0.1:1");
    let unknown = named("unknown").replace(&address, "no.such.name.invalid").replace("http:", "https:");
    let scene = scene_in(folder, &format!("{mail}webhooks: [ {there}, {gone}, {unknown} ]\n")).await;
    let found = outcomes(&scene.gateway).await;
    let of =
        |name: &str| found.iter().find(|(own, _)| own == name).map(|(_, outcome)| outcome.clone()).unwrap();
    assert_eq!((of("mail"), of("there")), (Ok(()), Ok(())));
    assert!(of("gone").unwrap_err().contains("nothing answers"), "{found:?}");
    assert!(of("unknown").unwrap_err().contains("does not resolve"), "{found:?}");
    assert!(server.taken().is_empty() && receiver.count() == 0, "nothing was told");
}

#[tokio::test]
async fn what_waits_is_counted_with_its_age() {
    let server = Smtp::plain().await;
    server.next([Take::Refuse(451); 20]);
    let scene = scene_in(tempfile::tempdir().unwrap(), &mail_to(&server)).await;
    scene.stop_one("one").await;
    scene.stop_one("two").await;
    let app = Arc::clone(&scene.gateway.running.app);
    scene.clock.advance(Duration::from_mins(7));
    notify::count_waiting(&app).await.unwrap();
    assert_eq!(scene.gateway.metric("portcullis_notices_waiting"), 2);
    assert!(scene.gateway.metric("portcullis_notices_oldest_seconds") >= 420);
}

#[tokio::test]
async fn an_agent_that_asks_without_end_fills_nobodys_mailbox() {
    let (server, upstream) = (Smtp::plain().await, Upstream::echo().await);
    let yaml = format!("{}{}", mail_to(&server), routes(&upstream));
    let scene = scene_in(tempfile::tempdir().unwrap(), &yaml).await;
    // All of it within one spell.
    let into = scene.clock.now().as_millis().rem_euclid(600_000);
    let rest = Duration::from_millis(600_000_u64.saturating_sub(into.unsigned_abs()));
    scene.clock.advance(rest);
    for number in 0..20 {
        scene.asked("bot", &format!("/reports/{number}"), "{}", None).await;
    }
    let of = |begin: &str| {
        let is_of = |letter: &&Letter| letter.header("Subject").is_some_and(|own| own.starts_with(begin));
        server.taken().iter().filter(is_of).count()
    };
    until(SOON, "six mails", async || server.taken().len() == 6).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((server.taken().len(), of("An agent asks"), of("More of what agents")), (6, 5, 1));
    let last = server.taken()[5].text.replace("=\n", "");
    assert!(last.contains("/portcullis/approvals/"), "{last}");
    // They are over when the next ten minutes begin: that is told as sparingly, and so is what comes then.
    scene.clock.advance(Duration::from_mins(10));
    scene.asked("bot", "/reports/new", "{}", None).await;
    until(SOON, "the rest", async || server.taken().len() == 13).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((server.taken().len(), of("An agent asks"), of("More became")), (13, 6, 1));
}
