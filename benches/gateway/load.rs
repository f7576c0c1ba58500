//! The load: closed loop (as fast as answers come) or paced (a fixed rate, latency from the moment
//! a request was due, so that a stall is not hidden by the generator waiting for it).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What is sent: one request head, repeated on every connection.
#[derive(Clone)]
pub struct Request {
    pub to: SocketAddr,
    /// Several heads are sent in turn, so that no cache holds only one caller.
    pub heads: Vec<Vec<u8>>,
}

/// What came of one run.
pub struct Outcome {
    pub requests: u64,
    pub elapsed: Duration,
    /// Sorted, in microseconds.
    latencies: Vec<u32>,
}

impl Outcome {
    /// Latencies in microseconds.
    pub fn of(mut latencies: Vec<u32>, elapsed: Duration) -> Self {
        latencies.sort_unstable();
        Self { requests: latencies.len() as u64, elapsed, latencies }
    }

    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency in microseconds below which `share` of the requests stayed.
    pub fn percentile(&self, share: f64) -> u32 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or(0)
    }
}

/// How fast requests are sent.
#[derive(Clone, Copy)]
pub enum Pace {
    Closed,
    PerSecond(f64),
}

/// Drives `connections` keep-alive connections for `span`; every answer must be a 200.
pub async fn drive(request: &Request, connections: usize, span: Duration, pace: Pace) -> Outcome {
    let started = Instant::now();
    let dues: Vec<Due> = match pace {
        Pace::Closed => (0..connections).map(|_| Due::AtOnce { until: started + span }).collect(),
        Pace::PerSecond(rate) => {
            let (bells, dues) =
                (0..connections).map(|_| mpsc::unbounded_channel()).unzip::<_, _, Vec<_>, Vec<_>>();
            let moments = moments(rate, started, span);
            std::thread::spawn(move || ring(&bells, moments));
            dues.into_iter().map(Due::At).collect()
        }
    };
    let workers: Vec<_> = (0..connections)
        .zip(dues)
        .map(|(index, due)| tokio::spawn(worker(request.clone(), index, connections, due)))
        .collect();
    let (mut requests, mut latencies) = (0, Vec::new());
    for worker in workers {
        let own = worker.await.expect("a load worker ends by itself");
        requests += own.len() as u64;
        // The first one of a connection waits for the proxy to accept it.
        latencies.extend(own.into_iter().skip(1));
    }
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Outcome { requests, elapsed, latencies }
}

/// Sends every head once, so that nobody is met for the first time later.
pub async fn each_once(request: &Request, connections: usize) {
    let senders: Vec<_> = (0..connections)
        .map(|index| {
            let Request { to, heads } = request.clone();
            tokio::spawn(async move {
                for head in heads.into_iter().skip(index).step_by(connections) {
                    answers(to, head, 1).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("a load worker ends by itself");
    }
}

/// The bodies of the answers to the same request, so many times on one connection.
pub async fn answers(to: SocketAddr, request: Vec<u8>, count: usize) -> Vec<String> {
    let mut stream = connect(to).await;
    let (mut buffer, mut bodies) = (Vec::new(), Vec::with_capacity(count));
    for _ in 0..count {
        stream.write_all(&request).await.expect("the proxy reads");
        let after = read_answer(&mut stream, &mut buffer).await;
        let body = memmem::find(&buffer, b"\r\n\r\n").map_or(0, |end| end + 4);
        bodies.push(String::from_utf8_lossy(&buffer[body..]).into_owned());
        if after == After::Close {
            stream = connect(to).await;
        }
    }
    bodies
}

/// Streams that the other side ends, one after the other on each connection until `span` is over;
/// how many there were.
pub async fn streams(request: &Request, connections: usize, span: Duration) -> u64 {
    let started = Instant::now();
    let readers: Vec<_> = (0..connections)
        .map(|index| {
            let Request { to, heads } = request.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while started.elapsed() < span {
                    let mut stream = connect(to).await;
                    stream.write_all(&heads[index % heads.len()]).await.expect("the proxy reads");
                    read_stream(&mut stream).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for reader in readers {
        count += reader.await.expect("a load worker ends by itself");
    }
    count
}

/// Reads an answer in chunks to its last one.
async fn read_stream(stream: &mut TcpStream) {
    let (mut buffer, mut is_first) = (Vec::with_capacity(64 * 1024), true);
    while !buffer.ends_with(b"0\r\n\r\n") {
        // Only the end may be of use again.
        let kept = buffer.len().saturating_sub(5);
        buffer.drain(..kept);
        read_more(stream, &mut buffer).await;
        assert!(!is_first || buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
        is_first = false;
    }
}

/// When requests are due.
pub fn moments(rate: f64, started: Instant, span: Duration) -> impl Iterator<Item = Instant> + Send {
    let gap = Duration::from_secs_f64(1.0 / rate);
    (0_u32..).map(move |number| gap * number).take_while(move |due| *due < span).map(move |due| started + due)
}

/// Tells the connections in turn that a request is due. A thread of its own: the runtime's clock
/// ticks each millisecond and would send the requests of one in a burst, whose last ones wait for
/// the first.
fn ring(bells: &[mpsc::UnboundedSender<Instant>], moments: impl Iterator<Item = Instant>) {
    for (due, bell) in moments.zip(bells.iter().cycle()) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if bell.send(due).is_err() {
            return;
        }
    }
}

/// When a connection sends its next request.
enum Due {
    /// When the last one is answered.
    AtOnce { until: Instant },
    /// When it is told to.
    At(mpsc::UnboundedReceiver<Instant>),
}

impl Due {
    /// The moment that latency counts from; `None` at the end of the run.
    async fn next(&mut self) -> Option<Instant> {
        match self {
            Self::AtOnce { until } => Some(Instant::now()).filter(|now| now < until),
            Self::At(bell) => bell.recv().await,
        }
    }
}

async fn worker(request: Request, index: usize, connections: usize, mut due: Due) -> Vec<u32> {
    let mut stream = connect(request.to).await;
    let mut buffer = Vec::with_capacity(4096);
    let mut latencies = Vec::with_capacity(1 << 16);
    let mut turn = index;
    while let Some(from) = due.next().await {
        stream.write_all(&request.heads[turn % request.heads.len()]).await.expect("the proxy reads");
        let after = read_answer(&mut stream, &mut buffer).await;
        latencies.push(u32::try_from(from.elapsed().as_micros()).unwrap_or(u32::MAX));
        turn += connections;
        if after == After::Close {
            stream = connect(request.to).await;
        }
    }
    latencies
}

/// What the proxy does with the connection after an answer: it ends each one some day.
#[derive(PartialEq, Eq)]
enum After {
    Keep,
    Close,
}

async fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("a socket takes options");
    stream
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> After {
    buffer.clear();
    let head = loop {
        if let Some(at) = memmem::find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        read_more(stream, buffer).await;
    };
    assert!(buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(buffer));
    let length = length_of(&buffer[..head]);
    let closes = memmem::find(&buffer[..head], b"onnection: close").is_some();
    while buffer.len() < head + length {
        read_more(stream, buffer).await;
    }
    if closes { After::Close } else { After::Keep }
}

/// The content length, whatever the case of its name: the generator takes what it costs away from
/// what it measures.
pub fn length_of(head: &[u8]) -> usize {
    let name = memmem::find(head, b"ength: ").expect("the backend's answer has a length");
    let digits = head[name + 7..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    let read = stream.read_buf(buffer).await.expect("the proxy answers");
    assert!(read > 0, "the proxy closed: {}", String::from_utf8_lossy(buffer));
}
