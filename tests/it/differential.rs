//! What the gateway forwards, read by other parsers: nginx and HAProxy stand between it and the
//! backend, and the backend must see the same as without them.
//!
//! Law: one request of a client is at most one request at the backend, and whoever reads it reads the
//! same method, target, headers and body, or refuses it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::support::gateway::open_to;
use crate::support::raw::get;
use crate::support::{Client, Foreign, Gateway, Seen, Upstream, exchange, times};

/// Heads and bodies that parsers have disagreed about. The mark of the case stands where `{}` does; it is
/// never changed, so that what arrives can be told apart from what nobody sent.
const SEEDS: [&str; 24] = [
    "GET /a?b=c&{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\nab",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\nab",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGGET /smuggled HTTP/1.1\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nConnection: x-a, close\r\nX-A: 1\r\n\r\n",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nX-Fold: a\r\n b\r\n\r\n",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nX-Under_score: 1\r\nX.Dot: 2\r\n\r\n",
    "DELETE /a?{} HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi",
    "PUT /a?{} HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\nyou\r\n0\r\n\r\n",
    "GET http://gw.test/a?x&{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "GET /a%20b/%C3%BC?q=%00&{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "GET /a/%2e%2e/b?{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "OPTIONS /a?{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "HEAD /a?{} HTTP/1.1\r\nHost: gw.test\r\n\r\n",
    "GET /a?{} HTTP/1.0\r\nHost: gw.test\r\n\r\n",
    "POST /a?{} HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nConnection: upgrade\r\n\r\n",
    "GET /a?{} HTTP/1.1\r\nHost: gw.test\r\nCookie: a=b; c=\"d\"\r\nX-Empty:\r\nX-Tab:\ta\t\r\n\r\n",
];
/// Bytes that mean something to somebody.
const SHARP: &[u8] = b"\r\n\t \0\x0b\x0c\x7f\x80\xff:;,=#?%/\\.@\"'(){}[]<>|^`~_+-0159aAzZ";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below
    }
}

/// The case's request: a seed as it stands, and later ones with something changed in one place.
fn request(number: usize) -> Vec<u8> {
    let seed = SEEDS[number % SEEDS.len()];
    let (before, after) = seed.split_once("{}").unwrap();
    let mark = format!("case={number}~");
    let (mut before, mut after) = (before.as_bytes().to_vec(), after.as_bytes().to_vec());
    if number >= SEEDS.len() {
        let mut dice = Dice((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let part = if dice.roll(3) > 0 { &mut before } else { &mut after };
        let (at, byte) = (dice.roll(part.len()), SHARP[dice.roll(SHARP.len())]);
        match dice.roll(4) {
            0 => part[at] = byte,
            1 => part.insert(at, byte),
            2 => {
                part.remove(at);
            }
            _ => {
                let end = (at + 1 + dice.roll(30)).min(part.len());
                let copy = part[at..end].to_vec();
                drop(part.splice(at..at, copy));
            }
        }
    }
    [before, mark.into_bytes(), after].concat()
}

/// What one parser made of a request, without what says how it was framed and by whom.
type Reading = (String, String, Vec<(String, String)>, Vec<u8>);

fn reading(seen: &Seen) -> Reading {
    let framing = ["connection", "content-length", "transfer-encoding", "x-request-id"];
    let fields = seen.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let mut fields: Vec<(String, String)> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .filter(|(name, _)| !framing.contains(&name.as_str()))
        .collect();
    fields.sort();
    let method = seen.line().split(' ').next().unwrap_or_default().to_owned();
    (method, seen.target().to_owned(), fields, seen.body.clone())
}

/// Every case by its number. What has no number, or has come twice, was not one request.
fn readings(upstream: &Upstream) -> BTreeMap<usize, Reading> {
    let mut all = BTreeMap::new();
    for seen in upstream.seen() {
        let mark = seen.target().split_once("case=").and_then(|(_, rest)| rest.split_once('~'));
        let number = mark.and_then(|(number, _)| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("nobody sent this: {seen:?}"));
        assert!(all.insert(number, reading(&seen)).is_none(), "sent once, seen twice: {seen:?}");
    }
    all
}

/// Sends a case and waits for what comes of it, if anything does.
async fn send(address: SocketAddr, bytes: Arc<Vec<u8>>) -> Option<u16> {
    let mut client = Client::connect(address).await;
    client.send(&*bytes).await;
    let method = if bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
    let last = async {
        loop {
            let status = client.answer_to(method).await?.status;
            if status >= 200 {
                return Some(status);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), last).await.expect("it is answered or closed")
}

async fn gateway(upstream: SocketAddr) -> Gateway {
    let limits = "limits: { head: { within: 1s }, body: { pause: 1s } }\n";
    // Once and no more: what arrives twice was sent twice.
    let once = open_to(upstream).replace("'] }", "'], retries: 0 }");
    Gateway::start(&format!("{limits}{once}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_and_haproxy_read_what_is_forwarded_as_it_was_judged() {
    let many = times(1500, 15_000);
    let (direct, by_nginx, by_haproxy) =
        (Upstream::echo().await, Upstream::echo().await, Upstream::echo().await);
    let nginx = Foreign::nginx_before(by_nginx.address).await;
    let haproxy = Foreign::haproxy_before(by_haproxy.address).await;
    let ways = [gateway(direct.address).await, gateway(nginx.address).await, gateway(haproxy.address).await];
    let address = ways.each_ref().map(Gateway::public);
    let cases = stream::iter(0..many).map(|number| async move {
        let bytes = Arc::new(request(number));
        let sent = address.map(|address| send(address, Arc::clone(&bytes)));
        (number, futures::future::join_all(sent).await)
    });
    let statuses: BTreeMap<usize, Vec<Option<u16>>> = cases.buffer_unordered(24).collect().await;
    let (ours, others) =
        (readings(&direct), [("nginx", readings(&by_nginx)), ("haproxy", readings(&by_haproxy))]);
    assert!(ours.len() > many / 8, "only {} of {many} were let through", ours.len());
    for (name, theirs) in others {
        for (number, reading) in &theirs {
            let text = String::from_utf8_lossy(&request(*number)).into_owned();
            assert_eq!(ours.get(number), Some(reading), "{name} read {number} otherwise: {text:?}");
        }
        let refused: Vec<usize> =
            ours.keys().filter(|number| !theirs.contains_key(number)).copied().collect();
        for number in &refused {
            let status = statuses[number][if name == "nginx" { 1 } else { 2 }];
            let text = String::from_utf8_lossy(&request(*number)).into_owned();
            assert!(matches!(status, Some(400..=431)), "{name} did {status:?} with {number}: {text:?}");
        }
        // What others refuse they do not misread; but it should be rare, or we let too much through.
        assert!(
            refused.len() * 50 < ours.len(),
            "{name} refuses {} of {}: {refused:?}",
            refused.len(),
            ours.len()
        );
    }
}

/// A path of pieces that servers fold, decode or climb by.
fn path(dice: &mut Dice) -> String {
    const PIECES: [&str; 34] = [
        "/", "//", "/.", "/..", "/../", "/./", "pub", "admin", "/admin", "/admin/", "/pub/", "x", "%2e",
        "%2E%2e", "%2f", "%2F", "%5c", "\\", "..;", ";", ";x=1", "%252e", "%252f", "%61dmin", "adm%69n",
        "ADMIN", "%00", "#", "?", "&", "%", "@", ":", "~",
    ];
    let mut path = String::from("/");
    for _ in 0..=dice.roll(6) {
        path.push_str(PIECES[dice.roll(PIECES.len())]);
    }
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_reaches_what_nginx_takes_for_another_route() {
    let nginx = Foreign::nginx(
        "location = /admin { return 200 admin; } location /admin/ { return 200 admin; } \
         location / { return 200 open; }",
    )
    .await;
    let gateway = Gateway::start(&format!(
        "upstreams: {{ up: {{ servers: ['{}'] }} }}\n\
         routes:\n\
         \x20 - {{ name: admin, match: {{ path: '/admin/**' }}, upstream: up, allow: signed_in }}\n\
         \x20 - {{ name: open, match: {{ path: '/**' }}, upstream: up, allow: anyone }}\n",
        nginx.address
    ))
    .await;
    let mut dice = Dice(0x5eed);
    let (mut client, mut passed) = (Client::connect(gateway.public()).await, 0);
    for fixed in
        ["/pub/../admin/x", "/pub/%2e%2e/admin", "//admin/x", "/%61dmin/x", "/admin", "/pub/..;/admin"]
    {
        let answer = exchange(gateway.public(), get(fixed, &[])).await.unwrap();
        assert_ne!(answer.text(), "admin", "{fixed}");
    }
    for _ in 0..times(3000, 30_000) {
        let path = path(&mut dice);
        client.send(get(&path, &[])).await;
        let Some(answer) = client.answer().await else {
            client = Client::connect(gateway.public()).await;
            continue;
        };
        assert_ne!(answer.text(), "admin", "{path} reached what only people may");
        passed += usize::from(answer.status == 200);
        if answer.header("connection") == Some("close") {
            client = Client::connect(gateway.public()).await;
        }
    }
    assert!(passed > 100, "only {passed} passed at all");
}
