//! The backend that the demo guards: a few reports and invoices, as an application with no login
//! code of its own would serve them.
//!
//! Law: it believes the identity headers and shows them. It can, because it listens on loopback
//! and the gateway removes whatever a client writes under those names.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A head longer than this is nobody the demo knows.
const HEAD_LIMIT: usize = 64 * 1024;
const BODY_LIMIT: usize = 1024 * 1024;
const IDLE_FOR: Duration = Duration::from_mins(2);

/// The listening backend.
pub struct Backend(TcpListener);

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    /// What came as JSON, if anything did.
    body: Value,
}

impl Backend {
    /// Takes a free port on loopback.
    pub async fn bind() -> io::Result<Self> {
        Ok(Self(TcpListener::bind(("127.0.0.1", 0)).await?))
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.0.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.push(converse(stream));
                    }
                }
                Some(_) = connections.next() => {}
            }
        }
    }
}

/// One connection, request by request, until the other side is done with it.
async fn converse(stream: TcpStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = tokio::time::timeout(IDLE_FOR, read(&mut stream)).await.unwrap_or(Ok(None))
    {
        let (status, body) = answer(&request);
        let body = format!("{body:#}\n");
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        if request.method != "HEAD" {
            stream.write_all(body.as_bytes()).await?;
        }
        stream.flush().await?;
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut limited = stream.take(HEAD_LIMIT as u64);
    let mut line = String::new();
    limited.read_line(&mut line).await?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let path = target.split('?').next().unwrap_or(target).to_owned();
    let mut request = Request { method: method.to_owned(), path, headers: Vec::new(), body: Value::Null };
    loop {
        let mut line = String::new();
        limited.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    request.body = read_body(stream, &request).await?;
    Ok(Some(request))
}

/// Reads a body of known length, which the examples send.
async fn read_body(stream: &mut BufReader<TcpStream>, request: &Request) -> io::Result<Value> {
    let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    if length > BODY_LIMIT || request.header("transfer-encoding").is_some() {
        return Err(io::Error::other("the example backend takes small bodies of known length only"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What the gateway said about the caller.
    fn identity(&self) -> Value {
        let is_identity = |name: &str| {
            ["x-user-", "x-org-", "x-agent-", "x-prompt-", "x-auth-", "x-portcullis-", "x-forwarded-"]
                .iter()
                .any(|start| name.starts_with(start))
                || name == "x-request-id"
        };
        let told = self.headers.iter().filter(|(name, _)| is_identity(name));
        Value::Object(told.map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>())
    }
}

fn answer(request: &Request) -> (&'static str, Value) {
    let segments: Vec<_> = request.path.split('/').filter(|segment| !segment.is_empty()).collect();
    let content = match (request.method.as_str(), segments.as_slice()) {
        ("GET" | "HEAD", ["health"]) => json!({"healthy": true}),
        ("GET" | "HEAD", ["reports"]) => json!({"reports": [
            {"id": 1, "title": "Visitors in October"},
            {"id": 2, "title": "Turnover by region"},
        ]}),
        ("GET" | "HEAD", ["reports", id]) => json!({"report": {"id": id, "title": "Visitors in October"}}),
        ("DELETE", ["reports", id]) => json!({"deleted": id}),
        ("GET" | "HEAD", ["forecasts"]) => json!({"forecasts": [{"id": 1, "title": "Turnover in spring"}]}),
        ("GET" | "HEAD", ["invoices"]) => {
            json!({"invoices": [{"id": 7, "amount": "120.00 EUR", "paid": false}]})
        }
        ("POST", ["invoices", id, "pay"]) => {
            json!({"invoice": {"id": id, "paid": true}, "asked": request.body})
        }
        _ => return ("404 Not Found", json!({"error": "the example backend has no such page"})),
    };
    ("200 OK", json!({"content": content, "identity_from_the_gateway": request.identity()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn exchange(text: &str) -> String {
        let backend = Backend::bind().await.unwrap();
        let address = backend.address().unwrap();
        let talk = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::select! {
            answer = talk => answer,
            () = backend.serve() => unreachable!("a backend serves until it is dropped"),
        }
    }

    #[tokio::test]
    async fn it_shows_the_identity_headers_that_arrived_and_no_others() {
        let answer =
            exchange("GET /reports?x=1 HTTP/1.1\r\nHost: a\r\nX-User-Id: u1\r\nCookie: c=1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Turnover"));
        assert!(answer.contains("\"x-user-id\": \"u1\"") && !answer.contains("cookie"));
    }

    #[tokio::test]
    async fn one_connection_carries_several_requests() {
        let pay = "POST /invoices/7/pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
        let answer = exchange(&format!("{pay}GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(answer.contains("\"paid\": true") && answer.contains("HTTP/1.1 404"));
    }
}
