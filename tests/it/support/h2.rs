//! HTTP/2 from both sides, frame by frame where a test needs it.
//!
//! Law: the client sends what it is told to, and the upstream tells what reached it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::upstream::spawn;

/// One connection of a client.
#[derive(Clone)]
pub struct H2Client {
    send: SendRequest<Bytes>,
}

/// An answer with its trailers.
#[derive(Debug)]
pub struct H2Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl H2Client {
    /// With prior knowledge, without TLS.
    pub async fn cleartext(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, connection) = h2::client::handshake(io).await.expect("a handshake");
        spawn(async move {
            // It ends with the test.
            let _ = connection.await;
        });
        Self { send }
    }

    /// Sends a request; an error is a reset or a closed connection.
    pub async fn send(&self, request: Request<()>, body: Option<&[u8]>) -> Result<H2Answer, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (answer, mut stream) = send.send_request(request, body.is_none())?;
        if let Some(body) = body {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        let (head, mut received) = answer.await?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = received.data().await {
            let piece = piece?;
            let _ = received.flow_control().release_capacity(piece.len());
            body.extend_from_slice(&piece);
        }
        let trailers = received.trailers().await?;
        Ok(H2Answer { head: Response::from_parts(head, ()), body, trailers })
    }
}

impl H2Client {
    /// Begins a request without a body, whose answer comes piece by piece.
    pub async fn ask(&self, request: Request<()>) -> ResponseFuture {
        let mut send = self.send.clone().ready().await.expect("a connection");
        send.send_request(request, true).expect("a stream").0
    }

    /// Begins a request whose body comes piece by piece.
    pub async fn begin(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.expect("a connection");
        send.send_request(request, false).expect("a stream")
    }
}

/// A request as it reached an HTTP/2 upstream.
#[derive(Debug, Clone)]
pub struct H2Seen {
    pub path: String,
    pub authority: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A backend that speaks HTTP/2 without TLS and answers every request with its body, then the
/// trailers of a successful gRPC call; one for `/never` it leaves unanswered, and with one that ends in `/Talk`
/// it talks: each piece goes back as it comes.
#[derive(Clone)]
pub struct H2Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<H2Seen>>>,
    open: Arc<AtomicUsize>,
}

impl H2Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, seen: Arc::default(), open: Arc::default() };
        let this = upstream.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                spawn(async move {
                    this.open.fetch_add(1, Ordering::SeqCst);
                    serve(stream, Arc::clone(&this.seen)).await;
                    this.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        upstream
    }

    pub fn last(&self) -> H2Seen {
        self.seen.lock().unwrap().last().cloned().expect("a request arrived")
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many connections to it are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, log: Arc<Mutex<Vec<H2Seen>>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let log = Arc::clone(&log);
        spawn(async move {
            let (head, mut body) = request.into_parts();
            if head.uri.path().ends_with("/Talk") {
                return talk(body, respond).await;
            }
            let mut whole = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                whole.extend_from_slice(&piece);
            }
            if head.uri.path() == "/never" {
                return std::future::pending().await;
            }
            log.lock().unwrap().push(H2Seen {
                path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
                authority: head.uri.authority().map_or_else(String::new, ToString::to_string),
                headers: head.headers.clone(),
                body: whole.clone(),
            });
            let mut answer = Response::new(());
            if let Some(kind) = head.headers.get("content-type") {
                answer.headers_mut().insert("content-type", kind.clone());
            }
            let Ok(mut stream) = respond.send_response(answer, false) else { return };
            // Empty frames that end nothing are counted as an attack, over all of a connection's life.
            if !whole.is_empty() {
                let _ = stream.send_data(Bytes::from(whole), false);
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let _ = stream.send_trailers(trailers);
        });
    }
}

/// A gRPC call that streams both ways: its head at once, each piece as it comes, and the trailers when the caller
/// has ended.
async fn talk(mut body: RecvStream, mut respond: SendResponse<Bytes>) {
    let answer = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let Ok(mut stream) = respond.send_response(answer, false) else { return };
    while let Some(piece) = body.data().await {
        let Ok(piece) = piece else { return };
        let _ = body.flow_control().release_capacity(piece.len());
        if stream.send_data(piece, false).is_err() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let _ = stream.send_trailers(trailers);
}
