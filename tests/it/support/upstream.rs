//! A backend that writes down every byte it receives.
//!
//! Law: it reads requests strictly as they stand, so that what one parser leaves over shows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which connection brought it.
    pub connection: usize,
    /// Up to and with the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    /// Every value under a name, whatever its case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The only value under a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} stands {} times in {}", all.len(), self.head);
        all.first().copied()
    }

    /// Every name, folded as careless backends fold them.
    pub fn folded_names(&self) -> Vec<String> {
        let fields = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, _)| name.to_ascii_lowercase().replace(['_', '.'], "-")).collect()
    }
}

/// What the backend does with a request.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends these bytes and waits for the next request.
    Answer(Vec<u8>),
    /// Sends these bytes and closes.
    AnswerAndClose(Vec<u8>),
    /// Sends pieces with pauses, then waits for the next request.
    Pieces(Vec<(Duration, Vec<u8>)>),
    /// Sends these bytes as soon as that is so.
    When(watch::Receiver<bool>, Vec<u8>),
    /// Sends these bytes, then sends back whatever comes.
    Tunnel(Vec<u8>),
    Close,
    Hang,
}

impl Act {
    /// An answer 200 with a body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::with("", body)
    }

    /// An answer 200 with more header lines, each ended.
    pub fn with(lines: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{lines}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        Self::Answer(bytes)
    }
}

type Handler = dyn Fn(&Seen) -> Act + Send + Sync;

/// A backend on a free port.
#[derive(Clone)]
pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers every request with the bytes it received.
    pub async fn echo() -> Self {
        Self::start(|seen| {
            let mut bytes = seen.head.clone().into_bytes();
            bytes.extend_from_slice(&seen.body);
            Act::with(&format!("X-Connection: {}\r\n", seen.connection), bytes)
        })
        .await
    }

    pub async fn start(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::on(listener, handler)
    }

    /// The same at an address of the test's choice.
    pub async fn start_at(
        address: &str,
        handler: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Ok(Self::on(TcpListener::bind(address).await?, handler))
    }

    pub fn on(listener: TcpListener, handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, seen: Arc::default(), connections: Arc::default() };
        let handler: Arc<Handler> = Arc::new(handler);
        let this = upstream.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = this.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                spawn(serve(stream, number, Arc::clone(&this.seen), Arc::clone(&handler)));
            }
        });
        upstream
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Begins to write down anew.
    pub fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request arrived")
    }

    /// How many connections were ever opened to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A WebSocket server that sends back what it gets.
pub async fn websocket_echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else { return };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Tests spawn freely: their process ends with them.
#[expect(clippy::disallowed_methods, reason = "a test's own background work")]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    tokio::spawn(future)
}

async fn serve(mut stream: TcpStream, connection: usize, log: Arc<Mutex<Vec<Seen>>>, handler: Arc<Handler>) {
    let mut buffer = Vec::new();
    while let Some(seen) = request(&mut stream, connection, &mut buffer).await {
        log.lock().unwrap().push(seen.clone());
        let sent = match handler(&seen) {
            Act::Answer(bytes) => stream.write_all(&bytes).await,
            Act::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Act::Pieces(pieces) => send_pieces(&mut stream, pieces).await,
            Act::When(mut is_so, bytes) => {
                drop(is_so.wait_for(|is_so| *is_so).await);
                stream.write_all(&bytes).await
            }
            Act::Tunnel(bytes) => return tunnel(stream, &bytes).await,
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn send_pieces(stream: &mut TcpStream, pieces: Vec<(Duration, Vec<u8>)>) -> std::io::Result<()> {
    for (pause, bytes) in pieces {
        tokio::time::sleep(pause).await;
        stream.write_all(&bytes).await?;
    }
    Ok(())
}

async fn tunnel(mut stream: TcpStream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_err() {
        return;
    }
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        if stream.write_all(&chunk[..count]).await.is_err() {
            return;
        }
    }
}

/// Reads one request, strictly as it stands: what is left in the buffer is the next one.
async fn request(stream: &mut TcpStream, connection: usize, buffer: &mut Vec<u8>) -> Option<Seen> {
    let head = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            break String::from_utf8_lossy(&std::mem::replace(buffer, rest)).into_owned();
        }
        more(stream, buffer).await?;
    };
    let mut seen = Seen { connection, head, body: Vec::new() };
    if seen.all("transfer-encoding").iter().any(|v| v.eq_ignore_ascii_case("chunked")) {
        seen.body = chunked(stream, buffer).await?;
    } else if let Some(length) = seen.all("content-length").first().and_then(|v| v.parse().ok()) {
        seen.body = take(stream, buffer, length).await?;
    }
    Some(seen)
}

async fn chunked(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        while !buffer.windows(2).any(|window| window == b"\r\n") {
            more(stream, buffer).await?;
        }
        let at = buffer.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[..at]).ok()?, 16).ok()?;
        buffer.drain(..at + 2);
        body.extend(take(stream, buffer, size).await?);
        take(stream, buffer, 2).await?;
        if size == 0 {
            return Some(body);
        }
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, count: usize) -> Option<Vec<u8>> {
    while buffer.len() < count {
        more(stream, buffer).await?;
    }
    let rest = buffer.split_off(count);
    Some(std::mem::replace(buffer, rest))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk).await {
        Ok(count @ 1..) => {
            buffer.extend_from_slice(&chunk[..count]);
            Some(())
        }
        Ok(0) | Err(_) => None,
    }
}
