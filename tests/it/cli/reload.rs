//! SIGHUP, SIGTERM and a stuck log, while requests come in (security bar 2.R).
//!
//! Law: no request is lost to any of them, and a file that is not good changes nothing.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Place;
use super::gateway::Gateway;
use crate::support::raw::get;
use crate::support::replica::{in_time, until};
use crate::support::upstream::spawn;
use crate::support::{Act, Client, Upstream, exchange};

const SOON: Duration = Duration::from_secs(5);

fn yaml(upstream: SocketAddr) -> String {
    format!(
        "preset: development
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}
drain: {{ announce: 500ms, grace: 1s }}
upstreams: {{ up: {{ servers: ['{upstream}'] }} }}
routes:
  - {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, websocket: true }}
"
    )
}

/// Asks on one connection after another, until told to stop or that connections end; how often.
async fn ask(address: SocketAddr, stop: Arc<AtomicBool>) -> usize {
    let (mut client, mut count) = (Client::connect(address).await, 0);
    while !stop.load(Ordering::SeqCst) {
        client.send(get("/x", &[])).await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!(answer.status, 200, "{answer:?}");
        count += 1;
        if answer.header("connection") == Some("close") {
            break;
        }
    }
    count
}

/// Four that ask until the flag is raised.
pub fn load(address: SocketAddr) -> (Arc<AtomicBool>, Vec<tokio::task::JoinHandle<usize>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let asking = (0..4).map(|_| spawn(ask(address, Arc::clone(&stop)))).collect();
    (stop, asking)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_good_and_bad_are_reloaded_without_losing_a_request() {
    let (one, two) = (Upstream::start(|_| Act::ok("one")).await, Upstream::start(|_| Act::ok("two")).await);
    let (good, other) = (yaml(one.address), yaml(two.address));
    let bad = [
        "routes: 3".to_owned(),
        other[..other.len() / 2].to_owned(),
        format!("nonsense: 1\n{other}"),
        format!("{other}  - {{ name: all, match: {{ path: '/y' }}, upstream: up, allow: anyone }}\n"),
        other.replace("upstream: up", "upstream: nobody"),
        other.replace("allow: anyone", "allow: { permission: nobody.knows }"),
        other.replace("allow: anyone, ", ""),
        other.replace("['", "[ '").replace("'] }", "'], tls: { ca_file: nowhere.pem } }"),
        format!("store: sqlite://elsewhere.db\n{other}"),
    ];
    let place = Place::with(&good);
    let gateway = Gateway::start(&place);
    let metrics = async || exchange(gateway.admin, get("/metrics", &[])).await.unwrap().text();
    let said = async || {
        let metrics = metrics().await;
        let info = metrics.lines().find(|line| line.starts_with("portcullis_config_info")).map(str::to_owned);
        (metrics.contains("\nportcullis_config_last_reload_success 1\n"), info)
    };
    let (stop, asking) = load(gateway.public);
    let now = async || exchange(gateway.public, get("/x", &[])).await.unwrap().text();
    for (number, bad) in bad.iter().enumerate() {
        let before = said().await;
        place.write("portcullis.yaml", bad);
        gateway.signal("HUP");
        until(SOON, bad, async || !said().await.0).await;
        assert_eq!((said().await.1, now().await.as_str()), (before.1, "one"), "{number}: the old one stays");
        for (text, answer) in [(&other, "two"), (&good, "one")] {
            let before = said().await.1;
            place.write("portcullis.yaml", text);
            gateway.signal("HUP");
            let taken = async || said().await.0 && said().await.1 != before && now().await == answer;
            until(SOON, answer, taken).await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut count = 0;
    for one in asking {
        count += one.await.expect("every request was answered");
    }
    assert!(count > 100, "there was a load: {count}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_told_to_end_finishes_what_came_before() {
    let upstream = Upstream::start(|seen| match seen.target() {
        "/slow" => {
            let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow".to_vec();
            Act::Pieces(vec![(Duration::from_millis(4500), whole)])
        }
        "/events" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
            let tail = (Duration::from_mins(1), b"0\r\n\r\n".to_vec());
            Act::Pieces(vec![(Duration::ZERO, head.to_vec()), tail])
        }
        "/socket" => Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .to_vec(),
        ),
        _ => Act::ok("quick"),
    })
    .await;
    let patient = yaml(upstream.address).replace("announce: 500ms, grace: 1s", "announce: 3s, grace: 4s");
    let place = Place::with(&patient);
    let mut gateway = Gateway::start(&place);
    let (public, admin) = (gateway.public, gateway.admin);
    let (_stop, asking) = load(public);
    let mut events = Client::connect(public).await;
    events.send(get("/events", &[])).await;
    events.until(b"hello").await.unwrap();
    let mut socket = Client::connect(public).await;
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    socket.send(get("/socket", &upgrade)).await;
    assert_eq!(socket.answer().await.unwrap().status, 101);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    gateway.signal("TERM");
    until(SOON, "not ready", async || exchange(admin, get("/readyz", &[])).await.unwrap().status == 503)
        .await;
    let slow = exchange(public, get("/slow", &[])).await.unwrap();
    assert_eq!((slow.text().as_str(), slow.header("connection")), ("slow", Some("close")));
    assert!(start.elapsed() > Duration::from_secs(3), "it outlived the door");
    for one in asking {
        assert!(one.await.expect("every request was answered") > 0);
    }
    let rest = in_time(Duration::from_secs(5), events.rest()).await.expect("the grace ends");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut at the deadline, and it shows");
    assert!(start.elapsed() >= Duration::from_millis(6_900), "not before it: {:?}", start.elapsed());
    assert_eq!(in_time(Duration::from_secs(1), socket.closes()).await, Some(true));
    assert_eq!(gateway.ends_within(Duration::from_secs(4)), Some(0));
    assert!(tokio::net::TcpStream::connect(public).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_what_became_of_a_reload_and_why() {
    let upstream = Upstream::start(|_| Act::ok("x")).await;
    let good = yaml(upstream.address);
    let place = Place::with(&good);
    let log = std::fs::File::create(place.path().join("log")).unwrap();
    let gateway = Gateway::start_logging_to(&place, log.into());
    let (taken, refused) =
        ("the configuration was taken over", "the configuration was refused; the old one stays");
    // What follows the sentence each time that it was said.
    let lines = |sentence: &str| -> Vec<String> {
        let log = std::fs::read_to_string(place.path().join("log")).unwrap();
        log.split(sentence).skip(1).map(str::to_owned).collect()
    };
    let reload = async |text: &str, sentence: &str, success: u8| {
        let before = lines(sentence).len();
        place.write("portcullis.yaml", text);
        gateway.signal("HUP");
        until(SOON, sentence, async || lines(sentence).len() == before + 1).await;
        let metrics = exchange(gateway.admin, get("/metrics", &[])).await.unwrap().text();
        let metric = format!("\nportcullis_config_last_reload_success {success}\n");
        assert!(metrics.contains(&metric), "{sentence}");
        lines(sentence).pop().unwrap()
    };
    assert_eq!((lines(taken).len(), lines(refused).len()), (0, 0), "nothing was reloaded yet");
    let told = reload(&good.replace("upstream: up", "upstream: nobody"), refused, 0).await;
    assert!(told.contains("nobody") && told.contains("routes[0].upstream"), "{told}");
    let told = reload(&format!("store: sqlite://elsewhere.db\n{good}"), refused, 0).await;
    assert!(told.contains("store"), "{told}");
    let told = reload(&good.replace("name: all", "name: other"), taken, 1).await;
    let sha256 = told.split(|c: char| !c.is_ascii_hexdigit()).find(|word| word.len() == 64);
    let slip = place.run("audit tail --code config_loaded");
    assert!(slip.code == 2 && slip.err.contains("config_reloaded"), "{slip:?}");
    let trail = place.run("audit tail --code config_reloaded --json").good();
    assert!(trail.contains(sha256.expect("a digest")) && trail.contains("system"), "{trail}");
    assert_eq!(trail.lines().count(), 1, "what was refused never came into force: {trail}");
    assert_eq!((lines(taken).len(), lines(refused).len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nobody() {
    let upstream = Upstream::start(|_| Act::ok("x")).await;
    let place = Place::with(&yaml(upstream.address));
    // A pipe whose other end never reads: full after 64 KiB.
    let mut gateway = Gateway::start_logging_to(&place, Stdio::piped());
    let path = format!("/{}", "long".repeat(100));
    let mut client = Client::connect(gateway.public).await;
    for _ in 0..600 {
        client.send(get(&path, &[])).await;
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    // What the program itself says goes the same way.
    for round in 0..3 {
        place.write("portcullis.yaml", "routes: 3");
        gateway.signal("HUP");
        let bad = async || {
            let metrics = exchange(gateway.admin, get("/metrics", &[])).await.unwrap().text();
            metrics.contains("\nportcullis_config_last_reload_success 0\n")
        };
        until(SOON, "refused", bad).await;
        assert_eq!(exchange(gateway.public, get(&path, &[])).await.unwrap().status, 200, "{round}");
    }
    gateway.signal("TERM");
    assert_eq!(gateway.ends_within(Duration::from_secs(8)), Some(0));
}

/// Where the file is watched, a good one is in force after its two seconds, and a bad one changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_file_is_taken_over_by_itself_and_another_is_not() {
    let (one, two) = (Upstream::start(|_| Act::ok("one")).await, Upstream::start(|_| Act::ok("two")).await);
    let start = |watch: &str| {
        let place = Place::with(&format!("{watch}{}", yaml(one.address)));
        let gateway = Gateway::start(&place);
        (place, gateway)
    };
    let ((seen, watching), (unseen, other)) = (start("watch: true\n"), start(""));
    let now = async |gateway: &Gateway| exchange(gateway.public, get("/x", &[])).await.unwrap().text();
    let succeeded = async |gateway: &Gateway| {
        let metrics = exchange(gateway.admin, get("/metrics", &[])).await.unwrap().text();
        metrics.contains("\nportcullis_config_last_reload_success 1\n")
    };
    for place in [&seen, &unseen] {
        place.write("portcullis.yaml", &format!("watch: true\n{}", yaml(two.address)));
    }
    until(4 * SOON, "taken over", async || now(&watching).await == "two").await;
    assert_eq!(now(&other).await, "one", "nobody told it to read");

    for place in [&seen, &unseen] {
        place.write("portcullis.yaml", "watch: true\nroutes: 3");
    }
    until(4 * SOON, "refused", async || !succeeded(&watching).await).await;
    assert_eq!((now(&watching).await.as_str(), succeeded(&other).await), ("two", true));
    seen.write("portcullis.yaml", &format!("watch: true\n{}", yaml(one.address)));
    until(4 * SOON, "it watches on", async || now(&watching).await == "one").await;
    assert!(succeeded(&watching).await);
}
