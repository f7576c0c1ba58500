//! Crowds at the door: many that dawdle, many that sleep, many reloads (security bar 2.P 178 to 180, 2.R 209).
//!
//! Law: whoever comes in good faith is served meanwhile, and afterwards the process is what it was before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Place;
use super::gateway::Gateway;
use super::reload::load;
use crate::support::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
    frame, preface,
};
use crate::support::gateway::open_to;
use crate::support::raw::{PATIENCE, get};
use crate::support::replica::{at_best, in_time, until};
use crate::support::upstream::spawn;
use crate::support::{Client, Upstream, exchange, times};

/// The shortest waits that a configuration may set, and room for everybody.
const QUICK: &str = "preset: development
listen: { public: 127.0.0.1:0, admin: 127.0.0.1:0 }
limits: { head: { within: 2s }, body: { pause: 2s }, connections: { total: 20000, per_address: 20000 } }
";
/// How many of a crowd come in the same moment.
const AT_ONCE: usize = 50;
/// What is closed late for the crowd being large.
const LEEWAY: Duration = Duration::from_secs(2);

struct Scene {
    gateway: Gateway,
    upstream: Upstream,
    _place: Place,
}

async fn scene() -> Scene {
    let upstream = Upstream::echo().await;
    let place = Place::with(&format!("{QUICK}{}", open_to(upstream.address)));
    let gateway = Gateway::start(&place);
    // What is made once is not what a crowd costs: buffers, and connections to the upstream.
    join_all((0..2 * AT_ONCE).map(|_| exchange(gateway.public, get("/warm", &[])))).await;
    Scene { gateway, upstream, _place: place }
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Vitals {
    files: usize,
    kib: usize,
}

fn vitals_of(pid: u32) -> Vitals {
    let proc = format!("/proc/{pid}");
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    Vitals {
        files: std::fs::read_dir(format!("{proc}/fd")).unwrap().count(),
        kib: line.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}

impl Scene {
    fn vitals(&self) -> Vitals {
        vitals_of(self.gateway.pid())
    }

    /// Waits until no more files are open than before, ten aside.
    async fn lets_go(&self, before: Vitals) {
        let is_let_go = async || self.vitals().files <= before.files + 10;
        until(Duration::from_secs(10), "files are closed", is_let_go).await;
    }
}

/// Somebody honest, again and again: each time at once.
async fn others_are_served(address: SocketAddr, for_: Duration) {
    let start = Instant::now();
    while start.elapsed() < for_ {
        let asked = in_time(Duration::from_secs(1), exchange(address, get("/honest", &[])));
        assert_eq!(asked.await.expect("served at once").unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends the first bytes, then one more now and then; how long it takes until the door is closed.
async fn dawdle(
    address: SocketAddr,
    number: usize,
    begin: String,
    drip: &'static str,
    pause: Duration,
) -> Duration {
    // One after the other: what is tested is a crowd inside, not a queue of handshakes.
    tokio::time::sleep(Duration::from_micros(300 * number as u64)).await;
    let mut client = Client::connect(address).await;
    let start = Instant::now();
    client.send(&begin).await;
    while start.elapsed() < PATIENCE {
        client.send(drip).await;
        if client.ends_within(pause).await {
            return start.elapsed();
        }
    }
    panic!("still open after {:?}: {begin:?}", start.elapsed());
}

/// A crowd that begins so and then dawdles: others are served, and all of it is gone in time.
async fn slow_crowd(begin: &str, drip: &'static str, pause: Duration) {
    let scene = scene().await;
    let (before, address) = (scene.vitals(), scene.gateway.public);
    at_best(Duration::from_secs(2) + LEEWAY, "all of it is gone", async || {
        let crowd =
            (0..times(300, 2000)).map(|number| dawdle(address, number, begin.to_owned(), drip, pause));
        let served = others_are_served(address, Duration::from_secs(3));
        let (took, ()) = futures::join!(join_all(crowd), served);
        took.into_iter().max().unwrap()
    })
    .await;
    scene.lets_go(before).await;
    assert!(scene.upstream.seen().iter().all(|seen| seen.target() != "/slow"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_heads_keeps_nobody_out() {
    let begin = "GET /slow HTTP/1.1\r\nHost: gw.test\r\n";
    slow_crowd(begin, "X-Slow: 1\r\n", Duration::from_millis(400)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_slow_bodies_keeps_nobody_out() {
    let begin = "POST /slow HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 9000\r\n\r\nfirst";
    slow_crowd(begin, "", Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_sleeps_costs_little_and_leaves_nothing() {
    let scene = scene().await;
    let (before, address, count) = (scene.vitals(), scene.gateway.public, times(1000, 8000));
    let mut crowd = Vec::with_capacity(count);
    while crowd.len() < count {
        let some = (0..AT_ONCE).map(|_| async {
            let mut client = Client::connect(address).await;
            client.send(get("/sleeper", &[])).await;
            assert_eq!(client.answer().await.unwrap().status, 200);
            client
        });
        crowd.extend(join_all(some).await);
    }
    let full = scene.vitals();
    // What the allocator gave back meanwhile may be more than the crowd costs.
    let each = full.kib.saturating_sub(before.kib) / count;
    assert!(each <= 24, "{each} KiB for each of {count}: {before:?}, {full:?}");
    others_are_served(address, Duration::from_millis(500)).await;
    drop(crowd);
    scene.lets_go(before).await;
    let is_small = async || scene.vitals().kib * 10 <= before.kib * 13;
    until(Duration::from_secs(15), "memory is given back", is_small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_reloads_leave_nothing_behind() {
    let scene = scene().await;
    let (stop, asking) = load(scene.gateway.public);
    let reload = async || {
        scene.gateway.signal("HUP");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for _ in 0..10 {
        reload().await;
    }
    let before = scene.vitals();
    for _ in 0..times(30, 100) {
        reload().await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for one in asking {
        assert!(one.await.expect("every request was answered") > 0);
    }
    scene.lets_go(before).await;
    // A tenth: what the allocator keeps at hand moves by more than the bar's twentieth.
    let is_small = async || scene.vitals().kib * 10 <= before.kib * 11;
    until(Duration::from_secs(15), "memory is given back", is_small).await;
    let metrics = exchange(scene.gateway.admin, get("/metrics", &[])).await.unwrap().text();
    assert!(metrics.contains("\nportcullis_config_last_reload_success 1\n"));
}

/// Processor time that a process has used, in ticks of a hundredth of a second.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: the state, and eleven more before the two times.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [11, 12].map(|at| fields[at].parse::<u64>().unwrap()).iter().sum()
}

type Flood = Box<dyn Fn(u32) -> Vec<u8>>;

/// What asks for nothing, or for what is never carried out: how it begins, and how it goes on.
fn floods() -> Vec<(&'static str, Vec<u8>, Flood)> {
    let same = |one: Vec<u8>| -> Flood { Box::new(move |_| one.clone()) };
    let head = |method| {
        block(&[(":method", method), (":scheme", "http"), (":authority", "gw.test"), (":path", "/flood")])
    };
    let open = [preface(), frame(HEADERS, END_HEADERS, 1, &head("POST"))].concat();
    let endless = [preface(), frame(HEADERS, END_STREAM, 1, &head("GET"))].concat();
    let long = frame(CONTINUATION, 0, 1, &block(&[("x-a", &"a".repeat(16_000))]));
    let stream =
        move |number: u32, then: Vec<u8>| [frame(HEADERS, END_HEADERS, number, &head("POST")), then].concat();
    vec![
        ("pings", preface(), same(frame(PING, 0, 0, &[0; 8]))),
        ("settings", preface(), same(frame(SETTINGS, 0, 0, &[]))),
        ("windows", preface(), same(frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("empty data", open, same(frame(DATA, 0, 1, &[]))),
        ("continuations", endless.clone(), same(long)),
        ("empty continuations", endless, same(frame(CONTINUATION, 0, 1, &[]))),
        (
            "resets",
            preface(),
            Box::new(move |number| {
                let id = number * 2 + 1;
                stream(id, frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()))
            }),
        ),
        (
            "resets that it is made to send",
            preface(),
            Box::new(move |number| {
                let id = number * 2 + 1;
                stream(id, frame(WINDOW_UPDATE, 0, id, &[0; 4]))
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_frames_of_a_flood_cost_less_than_a_second_and_hardly_any_memory() {
    let upstream = Upstream::echo().await;
    let quick = QUICK.replace("admin: 127.0.0.1:0 }", "admin: 127.0.0.1:0, h2c: true }");
    let place = Place::with(&format!("{quick}{}", open_to(upstream.address)));
    let gateway = Gateway::start(&place);
    join_all((0..2 * AT_ONCE).map(|_| exchange(gateway.public, get("/warm", &[])))).await;
    for (name, begin, next) in floods() {
        let (before, full) = (ticks(gateway.pid()), vitals_of(gateway.pid()));
        let (mut read, mut write) = TcpStream::connect(gateway.public).await.unwrap().into_split();
        let answers = spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await.ok() });
        let sent = async {
            write.write_all(&begin).await?;
            for round in 0..50 {
                let many: Vec<_> = (0..200).map(|number| next(round * 200 + number)).collect();
                write.write_all(&many.concat()).await?;
            }
            write.flush().await
        };
        // It may be cut off before its end, which costs even less.
        let _ = tokio::time::timeout(Duration::from_secs(10), sent).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let grown = vitals_of(gateway.pid()).kib.saturating_sub(full.kib);
        drop(write);
        let used = ticks(gateway.pid()) - before;
        assert!(used < 100, "{name}: {used} hundredths of a second");
        assert!(grown < 20 << 10, "{name}: {grown} KiB");
        answers.abort();
    }
}

/// How many carry much at once, and by how much the process may grow for all of them.
const CARRIERS: usize = 20;
const GROWTH_KIB: usize = 40 << 10;

/// A gateway before a server that does `act` with each connection, and nothing else.
async fn before<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(TcpStream) -> F + Send + 'static,
) -> (Gateway, Place) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(act(stream));
        }
    });
    let place = Place::with(&format!(
        "preset: development\nlisten: {{ public: 127.0.0.1:0, admin: 127.0.0.1:0 }}\n\
         upstreams: {{ up: {{ servers: ['{address}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, body: 1GiB }} ]\n"
    ));
    (Gateway::start(&place), place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_uploads_to_a_slow_server_pile_up_nowhere() {
    // It takes 64 KiB a second of each, which is next to nothing.
    let (gateway, _place) = before(async |mut stream: TcpStream| {
        let mut some = vec![0; 16 << 10];
        while stream.read(&mut some).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    })
    .await;
    let empty = vitals_of(gateway.pid());
    let uploads = (0..CARRIERS).map(|_| async {
        let mut client = Client::connect(gateway.public).await;
        client.send("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 1000000000\r\n\r\n").await;
        let (mut stream, piece) = (client.into_inner(), vec![b'a'; 1 << 20]);
        let endless = async { while stream.write_all(&piece).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_secs(3), endless).await;
        stream
    });
    let open = join_all(uploads).await;
    let full = vitals_of(gateway.pid());
    assert!(full.kib < empty.kib + GROWTH_KIB, "{empty:?}, {full:?}");
    drop(open);
}

/// The most that a process has held since it began, in KiB.
fn peak_of(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_uploads_pass_whole_and_leave_the_process_small() {
    let length = times(32_000_000, 1_000_000_000);
    // It reads as fast as it can and says how much there was.
    let (gateway, _place) = before(move |stream: TcpStream| async move {
        let mut client = Client::over(stream);
        client.until(b"\r\n\r\n").await.expect("a head");
        let (mut stream, begun) = client.into_parts();
        let (mut some, mut count) = (vec![0; 256 << 10], begun.len());
        while count < length {
            match stream.read(&mut some).await {
                Ok(more @ 1..) => count += more,
                Ok(_) | Err(_) => return,
            }
        }
        let said = count.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len());
        drop(stream.write_all(head.as_bytes()).await);
    })
    .await;
    let empty = vitals_of(gateway.pid());
    let uploads = (0..CARRIERS).map(|_| async {
        let mut client = Client::connect(gateway.public).await;
        client.send(format!("POST /x HTTP/1.1\r\nHost: gw.test\r\nContent-Length: {length}\r\n\r\n")).await;
        let (piece, mut left) = (vec![b'a'; 1 << 20], length);
        while left > 0 {
            let some = left.min(piece.len());
            client.send(&piece[..some]).await;
            left -= some;
        }
        let answer = client.answer().await.expect("an answer");
        assert_eq!((answer.status, answer.text()), (200, length.to_string()));
    });
    join_all(uploads).await;
    let peak = peak_of(gateway.pid());
    println!("{CARRIERS} uploads of {length} bytes: {} KiB before, at most {peak} KiB", empty.kib);
    assert!(peak < empty.kib + GROWTH_KIB, "{empty:?}, at most {peak} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_answers_to_slow_clients_pile_up_nowhere() {
    let (gateway, _place) = before(async |mut stream: TcpStream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
        let (piece, mut sent) = (vec![b'a'; 1 << 20], stream.write_all(head).await);
        while sent.is_ok() {
            sent = stream.write_all(&piece).await;
        }
    })
    .await;
    let empty = vitals_of(gateway.pid());
    let readers = (0..CARRIERS).map(|_| async {
        let mut client = Client::connect(gateway.public).await;
        client.send(get("/x", &[])).await;
        for _ in 0..10 {
            assert!(client.exactly(16 << 10).await.is_some());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        client
    });
    let open = join_all(readers).await;
    let full = vitals_of(gateway.pid());
    assert!(full.kib < empty.kib + GROWTH_KIB, "{empty:?}, {full:?}");
    drop(open);
}
