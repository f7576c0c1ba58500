//! A client that sends exactly the bytes it is given.
//!
//! Law: nothing is repaired on the way out, nothing waited for longer than [`PATIENCE`].

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::replica::in_time;

/// Longer than anything that is expected to happen, also on a machine that has five times as much to do.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// An answer, parsed leniently: what the gateway sends is ours to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The only value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands twice in {self:?}");
        first
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let values: Vec<&str> = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect();
        values.into_iter()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The stable code of a refusal.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One connection.
pub struct Client<S = TcpStream> {
    stream: S,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the gateway accepts");
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes; a connection that is closed already is not an error here.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// The next answer, or `None` when the connection closes first.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET").await
    }

    /// The next answer to a request of this method: one to `HEAD` has no body.
    pub async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let head = self.until(b"\r\n\r\n").await?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let is_bare = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        if !is_bare {
            answer.body = self.body(&answer).await?;
        }
        Some(answer)
    }

    async fn body(&mut self, answer: &Answer) -> Option<Vec<u8>> {
        if answer.all("transfer-encoding").any(|v| v.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let size = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
                body.extend(self.exactly(size).await?);
                self.exactly(2).await?;
                if size == 0 {
                    return Some(body);
                }
            }
        }
        if let Some(length) = answer.all("content-length").next() {
            return self.exactly(length.parse().ok()?).await;
        }
        while self.more().await {}
        Some(std::mem::take(&mut self.buffer))
    }

    /// Text up to and without `end`.
    pub async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                let mut taken = std::mem::replace(&mut self.buffer, rest);
                taken.truncate(at);
                return Some(String::from_utf8_lossy(&taken).into_owned());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.more().await {
                return None;
            }
        }
        let rest = self.buffer.split_off(count);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk)).await;
        match read.expect("an answer or a close in time") {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                true
            }
        }
    }

    /// Whether the other side closes, without another byte.
    pub async fn closes_within(&mut self, span: Duration) -> bool {
        let mut chunk = [0; 1024];
        assert!(self.buffer.is_empty(), "unread: {}", String::from_utf8_lossy(&self.buffer));
        match tokio::time::timeout(span, self.stream.read(&mut chunk)).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(count)) => panic!("unasked: {}", String::from_utf8_lossy(&chunk[..count])),
            Err(_) => false,
        }
    }

    /// Whether the other side closes soon, without another byte: long before it would for want of a request.
    pub async fn closes(&mut self) -> bool {
        in_time(Duration::from_secs(3), self.closes_within(PATIENCE)).await == Some(true)
    }

    /// Whether the connection ends in time, whatever is still said on it.
    pub async fn ends_within(&mut self, span: Duration) -> bool {
        tokio::time::timeout(span, async {
            let mut chunk = [0; 1024];
            while matches!(self.stream.read(&mut chunk).await, Ok(1..)) {}
        })
        .await
        .is_ok()
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    /// The connection, and what was read from it and not asked for yet.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.buffer)
    }
}

/// Sends one request on a connection of its own.
pub async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> Option<Answer> {
    let mut client = Client::connect(address).await;
    client.send(request.as_ref()).await;
    let is_head = request.as_ref().starts_with(b"HEAD ");
    client.answer_to(if is_head { "HEAD" } else { "GET" }).await
}

/// `GET` of a path, with headers as `Name: value` lines.
pub fn get(path: &str, headers: &[&str]) -> String {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: gw.test\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text + "\r\n"
}
