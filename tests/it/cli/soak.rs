//! Everything at once, for a while: people, agents, tunnels, streams, reloads, dawdlers and attackers.
//!
//! Law: afterwards the process is what it was before. Nothing is left open, nothing has grown,
//! nothing of ours was a 5xx, and the audit chain is whole. Minutes of it in `make test-long`, or as many seconds as
//! `PORTCULLIS_SOAK_SECONDS` says.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use portcullis::base::{SystemClock, SystemRandom};
use portcullis::{audit, config, server};
use serde_json::{Value, json};

use super::Place;
use super::gateway::Gateway;
use crate::support::people::{elsewhere, request};
use crate::support::raw::{Answer, get};
use crate::support::replica::until;
use crate::support::upstream::{Seen, spawn};
use crate::support::{Act, Client, Upstream, exchange, soak_seconds, times};

const PASSWORD: &str = "Correct-Horse-7-Battery";
const SECRET: &str = "carol@example.com";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// What no gateway should answer with anything but a refusal. Who guesses tokens comes from an
/// address of its own, because that address is slowed down.
const HOSTILE: [&str; 10] = [
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /mine HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "GET /mine/../reports HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /mine HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9\r\nAuthorization: Bearer a.b.c\r\n\r\n",
    "GET /mine HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9\r\nAuthorization: AgentBearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
    "GET /mine HTTP/1.1\r\nHost: a\r\nX-User-Id: 1\r\nX-Portcullis-Assertion: a\r\n\r\n",
    "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame",
];

fn upstream(seen: &Seen) -> Act {
    let kind = "Content-Type: application/json\r\n";
    match seen.target() {
        "/ws" => Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                .to_vec(),
        ),
        "/events" => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut pieces = vec![(Duration::ZERO, head.as_bytes().to_vec())];
            pieces.extend((0..5).map(|_| (Duration::from_millis(20), b"9\r\ndata: 1\n\n\r\n".to_vec())));
            pieces.push((Duration::ZERO, b"0\r\n\r\n".to_vec()));
            Act::Pieces(pieces)
        }
        _ => Act::with(kind, json!({"email": SECRET, "got": seen.body.len()}).to_string()),
    }
}

fn yaml(place: &Place, upstream: SocketAddr, limit: u32) -> String {
    let path = place.path().display();
    format!(
        "preset: development
tokens: {{ access_for: 24h }}
listen: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0, trusted_proxies: ['127.0.0.1/32'] }}
store: 'sqlite://{path}/gateway.db'
keys: {{ seal_file: '{path}/seal.key' }}
applications: {{ required: nowhere }}
insecure: [weak_hash]
accounts: {{ password: {{ argon2: {{ memory: 1MiB, iterations: 1 }} }} }}
limits: {{ head: {{ within: 2s }}, body: {{ pause: 2s }} }}
agents: {{ redact_pii: true }}
permissions: [ {{ code: reports.read }} ]
upstreams: {{ up: {{ servers: ['{upstream}'] }} }}
routes:
  - {{ name: mine, match: {{ path: '/mine' }}, upstream: up, allow: signed_in, limit: {{ requests: {limit}, per: 1s }} }}
  - {{ name: events, match: {{ path: '/events' }}, upstream: up, allow: signed_in }}
  - {{ name: ws, match: {{ path: '/ws' }}, upstream: up, allow: signed_in, websocket: true }}
  - {{ name: reports, match: {{ path: '/reports' }}, upstream: up, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }} }}
"
    )
}

/// Who sends, and until when.
#[derive(Clone)]
struct Crowd {
    public: SocketAddr,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    person: String,
    agent: String,
}

impl Crowd {
    /// Whether to go on; counts.
    fn goes_on(&self) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }

    async fn people(self) {
        let mut client = Client::connect(self.public).await;
        let mut count = 0;
        while self.goes_on() {
            let body = "x".repeat(count % 3000);
            client.send(request("POST", "/mine", std::slice::from_ref(&self.person), &body)).await;
            let answer = client.answer().await.expect("an answer");
            assert!(answer.status == 200 && answer.json()["email"] == SECRET, "{answer:?}");
            count += 1;
            if count % 50 == 0 {
                client = Client::connect(self.public).await;
            }
        }
    }

    async fn agents(self) {
        let mut client = Client::connect(self.public).await;
        let mut count = 0;
        while self.goes_on() {
            count += 1;
            // The gateway ends a connection after a thousand requests.
            if count % 50 == 0 {
                client = Client::connect(self.public).await;
            }
            client.send(get("/reports", &[&self.agent])).await;
            let answer = client.answer().await.expect("an answer");
            assert_eq!((answer.status, &answer.json()["email"]), (200, &json!("***REDACTED***")));
            client.send(get("/mine", &[&self.agent])).await;
            assert_eq!(client.answer().await.expect("an answer").code(), "AGENT_NOT_ALLOWED");
        }
    }

    async fn tunnels(self) {
        let mut count = 0;
        while self.goes_on() {
            let mut client = Client::connect(self.public).await;
            client.send(get("/ws", &[&self.person, UPGRADE])).await;
            assert_eq!(client.answer().await.expect("an answer").status, 101);
            for _ in 0..5 {
                client.send(b"\x81\x02hi").await;
                assert_eq!(client.exactly(4).await.expect("an echo"), b"\x81\x02hi");
            }
            count += 1;
            if count % 2 == 0 {
                client.send(b"\x88\x00").await;
                drop(client.exactly(2).await);
            }
        }
    }

    async fn streams(self) {
        while self.goes_on() {
            let mut client = Client::connect(self.public).await;
            client.send(get("/events", &[&self.person])).await;
            drop(client.until(b"data: 1").await.expect("an event"));
        }
    }

    async fn attackers(self) {
        for hostile in HOSTILE.iter().cycle() {
            if !self.goes_on() {
                return;
            }
            let mut client = Client::connect(self.public).await;
            client.send(hostile).await;
            if let Some(answer) = client.answer().await {
                assert!((400..500).contains(&answer.status), "{hostile}: {answer:?}");
            }
        }
    }

    /// They begin and leave.
    async fn dawdlers(self) {
        let whole = request("POST", "/mine", std::slice::from_ref(&self.person), &"x".repeat(5000));
        for part in (1..whole.len()).step_by(137).cycle() {
            if !self.goes_on() {
                return;
            }
            let mut client = Client::connect(self.public).await;
            client.send(&whole[..part]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn visitors(self) {
        while self.goes_on() {
            let login = json!({"email": "bob@example.com", "password": PASSWORD});
            let answer = call(self.public, "/login/email/", &[elsewhere()], &login).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            let lines = [elsewhere(), format!("Authorization: Bearer {token}")];
            let answer = call(self.public, "/logout/all/", &lines, &json!({})).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn call(public: SocketAddr, path: &str, lines: &[String], body: &Value) -> Answer {
    let text = request("POST", &format!("/api/v1/auth{path}"), lines, &body.to_string());
    exchange(public, text).await.expect("an answer")
}

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    place: Place,
    crowd: Crowd,
}

async fn scene() -> Scene {
    let upstream = Upstream::start(upstream).await;
    let place = Place::empty();
    place.write("portcullis.yaml", &yaml(&place, upstream.address, 1_000_000));
    for name in ["ada", "bob"] {
        let line = format!("user create {name}@example.com --verified --password-stdin");
        place.run_with(&line, PASSWORD).good();
    }
    place.run("user grant ada@example.com --permission reports.read").good();
    let gateway = Gateway::start(&place);
    let public = gateway.public;
    let login = json!({"email": "ada@example.com", "password": PASSWORD});
    let token =
        call(public, "/login/email/", &[], &login).await.json()["access_token"].as_str().unwrap().to_owned();
    let person = format!("Authorization: Bearer {token}");
    let most = 1_000_000_000;
    let limits = json!({"max_requests_per_minute": most, "max_requests_total": most});
    let ask = json!({"agent_id": "robot", "expires_in": 86400, "permissions": ["reports.read"], "circuit_breaker": limits});
    let minted = call(public, "/ai/tokens/", std::slice::from_ref(&person), &ask).await.json();
    let agent = format!("Authorization: AgentBearer {}", minted["token"].as_str().expect("a token"));
    let crowd = Crowd { public, stop: Arc::default(), sent: Arc::default(), person, agent };
    Scene { gateway, upstream, place, crowd }
}

impl Scene {
    /// Everybody for so long; then nobody.
    async fn runs(&self, span: Duration) {
        let crowd = Crowd { stop: Arc::default(), ..self.crowd.clone() };
        let mut tasks = Vec::new();
        for _ in 0..2 {
            tasks.push(spawn(crowd.clone().people()));
            tasks.push(spawn(crowd.clone().agents()));
            tasks.push(spawn(crowd.clone().tunnels()));
            tasks.push(spawn(crowd.clone().streams()));
            tasks.push(spawn(crowd.clone().attackers()));
            tasks.push(spawn(crowd.clone().dawdlers()));
        }
        tasks.push(spawn(crowd.clone().visitors()));
        let begun = std::time::Instant::now();
        let (mut count, mut samples) = (0, 0);
        while begun.elapsed() < span && tasks.iter().all(|task| !task.is_finished()) {
            let good = yaml(&self.place, self.upstream.address, 1_000_000 - count % 2);
            let text = if count % 3 == 2 { "routes: 3".to_owned() } else { good };
            self.place.write("portcullis.yaml", &text);
            self.gateway.signal("HUP");
            count += 1;
            // What reached the backend is not looked at, and would fill the memory of the test.
            self.upstream.forget();
            if begun.elapsed() >= span * samples / 12 {
                samples += 1;
                let (spent, kib, files) = (begun.elapsed(), self.kib(), self.files());
                writeln!(std::io::stderr(), "after {spent:?}: {kib} KiB, {files} files")
                    .expect("somebody looks on");
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        crowd.stop.store(true, Ordering::Relaxed);
        for ended in join_all(tasks).await {
            ended.expect("nobody met what should not be");
        }
        // Whoever reads the metrics is connected.
        until(Duration::from_secs(20), "everything is let go", async || {
            self.metric("portcullis_connections ") <= 1 && self.metric("portcullis_inflight ") == 0
        })
        .await;
    }

    fn metrics(&self) -> String {
        Gateway::get(self.gateway.admin, "/metrics").1
    }

    fn metric(&self, beginning: &str) -> u64 {
        let text = self.metrics();
        let values = text.lines().filter_map(|line| line.strip_prefix(beginning));
        values.map(|value| value.trim().parse::<u64>().expect("a whole number")).sum()
    }

    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).unwrap().count()
    }

    fn kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_everything_at_once_the_gateway_is_what_it_was() {
    let mut scene = scene().await;
    let seconds = soak_seconds().unwrap_or_else(|| u64::try_from(times(4, 180)).unwrap());
    scene.runs(Duration::from_secs(seconds.div_ceil(4))).await;
    let (files, kib) = (scene.files(), scene.kib());
    scene.runs(Duration::from_secs(seconds)).await;
    let is_closed = async || scene.files() <= files + 10;
    until(Duration::from_secs(20), "no more files are open than before", is_closed).await;
    // What an allocator keeps for a moment is given back; what leaks grows with the time.
    let is_small = async || scene.kib() <= kib + kib / 4 + 16 * 1024;
    until(Duration::from_secs(20), "no more memory is held than before", is_small).await;
    let text = scene.metrics();
    let failed: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && (line.contains("5xx") || line.contains("panic")))
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let sent = scene.crowd.sent.load(Ordering::Relaxed);
    assert!(sent > 300, "only {sent} steps were taken");
    scene.gateway.signal("TERM");
    assert_eq!(scene.gateway.ends_within(Duration::from_secs(30)), Some(0));
    let loaded = config::load_text(&yaml(&scene.place, scene.upstream.address, 1)).unwrap();
    let app = server::operate(&loaded.config, Arc::new(SystemClock), Arc::new(SystemRandom)).await.unwrap();
    let decisions = audit::verify(&app.db, &app.seal, audit::Stream::DataPlane).await;
    decisions.expect("that of the data plane is whole");
    let whole = audit::verify(&app.db, &app.seal, audit::Stream::Changes).await.expect("the chain is whole");
    assert!(whole.end.seq > 10, "there was something to be written down");
}
