//! Directories that are down, slow, lie or are not who they should be, and a gateway that goes on.
//! Law: no password goes to whoever did not prove to be the directory; a refusal comes in time.

use std::time::Duration;

use portcullis::store::Dialect;
use serde_json::{Value, json};

use crate::ldap::Scene;
use crate::support::directory::{Deed, KNOWN, Liar, PEOPLE, Slapd, entry, outcome, part};
use crate::support::people::PASSWORD;
use crate::support::replica::in_time;
use crate::support::tls::Pair;

const BIND: u8 = 0x61;
const FOUND: u8 = 0x65;
const NAMED: &str = "bind_as: 'uid={username},ou=people'";
const SEARCHED: &str = "search: { base: '', filter: '(uid={username})' }";

/// What whoever logs in is told, while others log in as ever.
async fn told(scene: &Scene) -> (u16, String) {
    let other = async {
        let body = json!({"email": "eve@example.com", "password": PASSWORD, "device_info": "v=1|os=linux"});
        scene.ask("POST", None, "/login/email/", &body).await.status
    };
    let both = async { tokio::join!(scene.enter("ada", KNOWN), other) };
    let (answer, meanwhile) = in_time(Duration::from_secs(4), both).await.expect("a refusal in time");
    assert_eq!(meanwhile, 200);
    assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("ou="), "{}", answer.text());
    (answer.status, answer.code())
}

async fn scene(yaml: &str) -> Scene {
    let scene = Scene::with(Dialect::Sqlite, yaml).await;
    scene.gateway().account("eve", |_| {}).await;
    scene
}

fn silent() -> (u16, String) {
    (503, "DIRECTORY_UNAVAILABLE".to_owned())
}

fn wrong() -> (u16, String) {
    (401, "LOGIN_FAILED".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_makes_no_sense_is_none() {
    let mut deep = vec![4, 0];
    for _ in 0..4000 {
        deep = part(0x30, &[deep]);
    }
    let own = entry(2, "uid=ada", &[("mail", b"ada@example.com")]);
    let huge = entry(2, "uid=ada", &[("entryUUID", &vec![b'x'; 70_000])]);
    let says = |all: &[Vec<u8>]| Deed::Say(all.to_vec());
    let taken = outcome(1, BIND, 0);
    for (number, deed) in [
        Deed::Hang,
        Deed::Close,
        says(&[b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()]),
        says(&[deep]),
        says(&[vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]]),
        says(&[vec![0x30, 0x80, 2, 1, 1, 0, 0]]),
        // The library would go down with these.
        says(&[vec![0x30, 0]]),
        says(&[vec![0x30, 3, 2, 1, 1]]),
        says(&[part(0x30, &[vec![2, 1, 1], part(BIND, &[])])]),
        says(&[part(0x30, &[vec![2, 1, 1], part(BIND, &[vec![0x0a, 1, 0], vec![4, 1, 0xff], vec![4, 0]])])]),
        // Neither yes nor no: another operation, a referral, busy.
        says(&[outcome(1, FOUND, 0)]),
        says(&[outcome(1, BIND, 10)]),
        says(&[outcome(1, BIND, 51)]),
        // It takes the password, and does not say whose it is, or says so much that nobody would.
        says(&[taken.clone(), outcome(2, FOUND, 0)]),
        says(&[taken.clone(), outcome(2, FOUND, 32)]),
        says(&[taken.clone(), outcome(2, BIND, 0)]),
        says(&[taken.clone(), [own.clone(), outcome(2, FOUND, 0)].concat()]),
        says(&[taken.clone(), [huge, outcome(2, FOUND, 0)].concat()]),
        says(&[taken.clone(), own.repeat(20_000)]),
        Deed::SayAndClose(vec![taken]),
    ]
    .into_iter()
    .enumerate()
    {
        let liar = Liar::start(deed).await;
        let scene = scene(&liar.yaml(NAMED)).await;
        assert_eq!(told(&scene).await, silent(), "{number}");
        assert_eq!(liar.count(), 1, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_says_yes_to_nobody_lets_nobody_in() {
    let id: &[(&str, &[u8])] = &[("entryUUID", b"1")];
    let says_yes = |found: &[Vec<u8>]| {
        let found = [found.concat(), outcome(1, FOUND, 0)].concat();
        Deed::Say(vec![found, outcome(2, BIND, 0)])
    };
    for (number, deed) in [
        says_yes(&[]),
        // An entry without a name, which is a bind by nobody.
        says_yes(&[entry(1, "", id)]),
        says_yes(&[entry(1, "uid=ada", id), entry(1, "uid=ada,ou=b", id)]),
        // Somebody elsewhere, who is not asked there.
        says_yes(&[part(0x30, &[vec![2, 1, 1], part(0x73, &[part(4, &[b"ldap://127.0.0.1:9/".to_vec()])])])]),
    ]
    .into_iter()
    .enumerate()
    {
        let liar = Liar::start(deed).await;
        assert_eq!(told(&scene(&liar.yaml(SEARCHED)).await).await, wrong(), "{number}");
    }
    let honest = Liar::start(says_yes(&[entry(1, "uid=ada", id)])).await;
    assert_eq!(told(&scene(&honest.yaml(SEARCHED)).await).await.0, 200, "what the others lack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_a_directory_was_shown_counts_as_a_try_whatever_comes_of_it() {
    let liar = Liar::start(Deed::Say(vec![outcome(1, BIND, 51)])).await;
    let scene = scene(&liar.yaml(NAMED)).await;
    for number in 0..10 {
        let answer = scene.enter("ada", KNOWN).await;
        assert_eq!((answer.status, answer.code()), silent(), "{number}");
    }
    assert_eq!((scene.enter("ada", KNOWN).await.status, liar.count()), (423, 10));
    assert_eq!(scene.enter("bob", KNOWN).await.status, 503);
    assert!(scene.trail().await.contains("login_failed"));
}

#[tokio::test]
async fn no_password_goes_to_whoever_is_not_the_directory() {
    let slapd = Slapd::here();
    let folder = tempfile::tempdir().unwrap();
    let other = Pair::for_name("localhost");
    other.write(folder.path(), "other");
    let ca = folder.path().join("other.crt").display().to_string();
    let address = slapd.ldaps.replace("localhost", "127.0.0.1");
    for (what, yaml) in [
        ("another authority", slapd.searched(PEOPLE, "").replace(&slapd.ca, &ca)),
        ("another authority, upgraded", slapd.named("").replace(&slapd.ca, &ca)),
        ("another name", slapd.searched(PEOPLE, "").replace(&slapd.ldaps, &address)),
        ("another port", slapd.named("").replace(&slapd.ldap, &slapd.ldaps.replace("ldaps", "ldap"))),
    ] {
        assert_eq!(told(&scene(&yaml).await).await, silent(), "{what}");
    }
    // One that does not upgrade hears nothing but that it should.
    for answer in [
        part(0x30, &[vec![2, 1, 1], part(0x78, &[vec![0x0a, 1, 2], vec![4, 0], vec![4, 0]])]),
        outcome(1, BIND, 0),
        // Says yes, and goes on in the clear.
        [
            part(0x30, &[vec![2, 1, 1], part(0x78, &[vec![0x0a, 1, 0], vec![4, 0], vec![4, 0]])]),
            outcome(1, BIND, 0),
        ]
        .concat(),
    ] {
        let liar = Liar::start(Deed::Say(vec![answer])).await;
        let yaml = liar.yaml(NAMED).replace("    allow_plain: true\n", "");
        assert_eq!(told(&scene(&yaml).await).await, silent());
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_gone_and_wrong_is_wrong_on_the_first() {
    let slapd = Slapd::here();
    let hanging = Liar::start(Deed::Hang).await;
    let first = format!("ldap://{}', 'ldaps://localhost:9', '{}", hanging.address, slapd.ldaps);
    let yaml = slapd.searched(PEOPLE, "    timeout: 18s\n").replace(&slapd.ldaps, &first);
    let scene = scene(&yaml).await;
    assert_eq!(scene.enter("ada", KNOWN).await.status, 200);
    let hanging = Liar::start(Deed::Hang).await;
    let both = format!("{}', 'ldap://{}", slapd.ldaps, hanging.address);
    let scene = self::scene(&slapd.searched(PEOPLE, "").replace(&slapd.ldaps, &both)).await;
    assert_eq!(scene.enter("ada", "wrong").await.status, 401);
    assert_eq!(hanging.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_as_many_as_they_may_be_and_who_waits_too_long_is_told_so() {
    let liar = Liar::start(Deed::Hang).await;
    // Who holds a connection holds it until long after everybody asked for one.
    let yaml = liar.yaml(&format!("{NAMED}\n    connections: 2")).replace("timeout: 2s", "timeout: 8s");
    let scene = scene(&yaml).await;
    let names: Vec<String> = (0..12).map(|number| format!("person-{number}")).collect();
    let all = futures::future::join_all(names.iter().map(|name| scene.enter(name, KNOWN))).await;
    let count = |code: &str| all.iter().filter(|answer| answer.code() == code).count();
    assert_eq!(count("DIRECTORY_UNAVAILABLE"), 2);
    assert_eq!((count("OVERLOADED"), liar.count()), (10, 2));
    // Nobody was judged, so nobody is locked out by it.
    let again = scene.enter("person-0", KNOWN).await;
    assert_eq!(again.status, 503);
    assert!(again.header("retry-after").is_some());
    let lines: String = scene.gateway().access_log().await.iter().map(Value::to_string).collect();
    assert!(!lines.contains(KNOWN) && !lines.contains("person-0"));
    let metrics = scene.gateway().running.app.metrics.render();
    assert!(metrics.contains("portcullis_logins_total{method=\"ldap\",result=\"unavailable\"}"), "{metrics}");
}
