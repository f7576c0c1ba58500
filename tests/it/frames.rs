//! HTTP/2 that no honest client speaks (security bar 2.C 43 and 2.P 184).
//!
//! Law: what cannot be said in one clean HTTP/1 request never reaches the upstream, and a flood
//! ends its own connection while others are served.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS, WINDOW_UPDATE, block, frame, kept,
    preface,
};
use crate::support::gateway::open_to;
use crate::support::raw::get;
use crate::support::replica::at_best;
use crate::support::{Client, Gateway, Upstream, exchange};

const H2C: &str = "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }\n";

async fn scene() -> (Upstream, Gateway) {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    (upstream, gateway)
}

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn fields<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut all = vec![(":method", "GET"), (":scheme", "http"), (":authority", "gw.test"), (":path", path)];
    all.extend_from_slice(more);
    all
}

/// Whether anything that only ends a stream or a connection, or refuses, comes back in time.
async fn reacts(client: &mut Client) -> bool {
    loop {
        let Some(head) = client.exactly(9).await else { return true };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = client.exactly(length).await.unwrap_or_default();
        match head[3] {
            // RST_STREAM, GOAWAY.
            3 | 7 => return true,
            // An answer: 200 is one byte, 0x88.
            HEADERS => return payload.first() != Some(&0x88),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_http1_cannot_say_cleanly_goes_nowhere() {
    let (upstream, gateway) = scene().await;
    let plain = fields("/x", &[]);
    let replaced = |at: usize, field: (&'static str, &'static str)| {
        let mut all = plain.clone();
        all[at] = field;
        all
    };
    let cases: Vec<Fields<'_>> = vec![
        fields("/a b", &[]),
        fields("/a\r\nX-Evil: 1", &[]),
        fields("/x HTTP/1.1\r\nHost: evil\r\n\r\nGET /y", &[]),
        fields("http://evil.test/x", &[]),
        fields("x", &[]),
        fields("", &[]),
        fields("*", &[]),
        fields("/a\0b", &[]),
        replaced(0, (":method", "GET / HTTP/1.1")),
        replaced(0, (":method", "")),
        replaced(2, (":authority", "gw.test, evil.test")),
        replaced(2, (":authority", "gw.test/evil")),
        replaced(2, (":authority", "u@gw.test")),
        fields("/x", &[("host", "evil.test")]),
        fields("/x", &[(":path", "/y")]),
        fields("/x", &[("x-a", "1"), (":method", "POST")]),
        fields("/x", &[(":evil", "1")]),
        fields("/x", &[("x:a", "1")]),
        fields("/x", &[("x a", "1")]),
        fields("/x", &[("", "1")]),
        fields("/x", &[("X-Upper", "1")]),
        fields("/x", &[("x-a", "1\r\nx-user-id: 1")]),
        fields("/x", &[("x-a", "1\nx-user-id: 1")]),
        fields("/x", &[("x-a", "\0")]),
        fields("/x", &[("transfer-encoding", "chunked")]),
        fields("/x", &[("connection", "x-user-id")]),
        fields("/x", &[("upgrade", "h2c")]),
        fields("/x", &[("te", "trailers, gzip")]),
        fields("/x", &[("content-length", "5")]),
        fields("/x", &[("content-length", "+0")]),
        plain[..3].to_vec(),
        plain[1..].to_vec(),
    ];
    let mut passed = Vec::new();
    for case in &cases {
        let mut client = Client::connect(gateway.public()).await;
        let headers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(case));
        client.send([preface(), headers].concat()).await;
        if !reacts(&mut client).await || upstream.count() > passed.len() {
            passed.push((case, upstream.seen().last().map(|seen| seen.head.clone())));
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
    let mut client = Client::connect(gateway.public()).await;
    let post = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "gw.test"),
        (":path", "/x"),
        ("content-length", "5"),
    ];
    let headers = frame(HEADERS, END_HEADERS, 1, &block(&post));
    client.send([preface(), headers, frame(DATA, END_STREAM, 1, b"12")].concat()).await;
    assert!(reacts(&mut client).await, "a body shorter than it says");
    assert_eq!(upstream.count(), 0);
    // A fragment is cut off before anyone decides, so what is decided is what is forwarded.
    let mut client = Client::connect(gateway.public()).await;
    let headers = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields("/x#/admin", &[])));
    client.send([preface(), headers].concat()).await;
    reacts(&mut client).await;
    assert!(upstream.seen().iter().all(|seen| seen.target() == "/x"), "{:?}", upstream.seen());
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

/// Writes the same again and again, reading nothing, until the connection takes no more; how many
/// bytes it took.
async fn flood(gateway: &Gateway, begin: &[u8], mut next: impl FnMut(u32) -> Vec<u8>, most: usize) -> usize {
    let mut stream = TcpStream::connect(gateway.public()).await.unwrap();
    stream.write_all(begin).await.unwrap();
    let (start, mut taken) = (Instant::now(), 0);
    for number in 0.. {
        let bytes = next(number);
        let wrote = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&bytes)).await;
        taken += bytes.len();
        if !matches!(wrote, Ok(Ok(()))) || taken > most || start.elapsed() > Duration::from_secs(6) {
            break;
        }
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    taken
}

/// A stranger is served at once.
async fn serves(gateway: &Gateway, what: &str) {
    at_best(Duration::from_secs(1), what, async || {
        let start = Instant::now();
        assert_eq!(exchange(gateway.public(), get("/other", &[])).await.unwrap().status, 200, "{what}");
        start.elapsed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_is_not_gathered_without_end() {
    let (upstream, gateway) = scene().await;
    let begin = [preface(), frame(HEADERS, END_STREAM, 1, &block(&fields("/x", &[])))].concat();
    let more = block(&[("x-a", &"a".repeat(16_000))]);
    let taken = flood(&gateway, &begin, |_| frame(CONTINUATION, 0, 1, &more), 64 << 20).await;
    // What the kernel holds on both sides is in this number too.
    assert!(taken < 16 << 20, "{taken} bytes of one head were taken");
    let empty = flood(&gateway, &begin, |_| frame(CONTINUATION, 0, 1, &[]), 64 << 20).await;
    assert!(empty < 16 << 20, "{empty} bytes of empty continuations were taken");
    serves(&gateway, "continuation").await;
    assert_eq!(upstream.seen().iter().filter(|seen| seen.target() == "/x").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_head_that_means_a_huge_one_is_refused() {
    let (upstream, gateway) = scene().await;
    let mut head = block(&fields("/bomb", &[]));
    head.extend(kept("x-bomb", &"b".repeat(4000)));
    // The newest entry of the table is number 62, in one byte 0x80 + 62: it stands for four thousand.
    head.extend(vec![0xbe; 12_000]);
    let mut client = Client::connect(gateway.public()).await;
    client.send([preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)].concat()).await;
    assert!(reacts(&mut client).await);
    serves(&gateway, "table bomb").await;
    assert!(upstream.seen().iter().all(|seen| seen.target() != "/bomb"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_the_gateway_is_made_to_send_count_as_resets() {
    let upstream = Upstream::start(|_| crate::support::Act::Hang).await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream.address))).await;
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", "gw.test"), (":path", "/made")];
    let post = block(&post);
    let each = |number: u32| {
        let stream = number * 2 + 1;
        [frame(HEADERS, END_HEADERS, stream, &post), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    };
    let size = each(0).len();
    let taken = flood(&gateway, &preface(), each, 20_000 * size).await / size;
    assert!(taken < 20_000, "all of them were taken");
    assert!(upstream.count() <= 250, "{} of them reached the upstream", upstream.count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_ask_for_nothing_disturb_nobody() {
    let (upstream, gateway) = scene().await;
    let post = [(":method", "POST"), (":scheme", "http"), (":authority", "gw.test"), (":path", "/empty")];
    let open = [preface(), frame(HEADERS, END_HEADERS, 1, &block(&post))].concat();
    let floods: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("pings", preface(), frame(PING, 0, 0, &[0; 8])),
        ("settings", preface(), frame(SETTINGS, 0, 0, &[])),
        ("empty data", open, frame(DATA, 0, 1, &[])),
        ("priorities", preface(), frame(2, 0, 3, &[0, 0, 0, 0, 1])),
    ];
    for (name, begin, one) in floods {
        let many = one.repeat(200);
        let flooding = flood(&gateway, &begin, |_| many.clone(), 40_000 * one.len());
        let watching = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                serves(&gateway, name).await;
            }
        };
        futures::join!(flooding, watching);
    }
    assert!(upstream.seen().iter().all(|seen| seen.target() == "/other"));
}

#[tokio::test]
async fn http2_without_tls_is_spoken_only_where_the_file_says_so() {
    let upstream = Upstream::echo().await;
    let gateway = Gateway::open_to(upstream.address).await;
    let mut client = Client::connect(gateway.public()).await;
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields("/x", &[])));
    client.send([preface(), request].concat()).await;
    let said = client.rest().await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(upstream.count(), 0);
    // Nor does HTTP/1 turn into it.
    let dance =
        ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"];
    assert_eq!(exchange(gateway.public(), get("/x", &dance)).await.unwrap().status, 200);
    let seen = upstream.last();
    assert!(seen.all("upgrade").is_empty() && seen.all("http2-settings").is_empty(), "{seen:?}");
}
