//! A client's TCP connection, as the proxy reads and writes it.
//!
//! Law: an idle connection holds no buffer. Small writes are gathered until the flush, so an
//! answer's head and body leave in one packet; large ones go out with what waits before them. A client
//! that takes nothing of what is sent for too long is let go, whatever waits for it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType, raw_connect,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::slot::Pulse;

/// What is gathered before it is sent without a flush.
const GATHER: usize = 16 * 1024;
/// What of the gathering buffer is kept between answers.
const KEPT: usize = 1024;
/// How much of what a refused client still sends is read before the connection closes on it, so
/// that the answer is not lost to a reset.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_FOR: Duration = Duration::from_millis(500);

/// One client connection.
#[derive(Debug)]
pub(super) struct Wire {
    tcp: TcpStream,
    /// Bytes that were looked at and not taken.
    peeked: VecDeque<u8>,
    gathered: Vec<u8>,
    digest: Arc<SocketDigest>,
    pulse: Arc<Pulse>,
    /// How long a client may take nothing.
    patience: Duration,
    /// Since when it does.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Everything was said.
    parting: Option<Box<Parting>>,
}

/// How long and how much is still read of what a client sends that has had its last answer.
#[derive(Debug)]
struct Parting {
    until: Pin<Box<Sleep>>,
    left: usize,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, peer: SocketAddr, pulse: Arc<Pulse>, patience: Duration) -> Self {
        let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        // A new cell is empty.
        let _ = digest.peer_addr.set(Some(peer.into()));
        Self {
            tcp,
            peeked: VecDeque::new(),
            gathered: Vec::new(),
            digest: Arc::new(digest),
            pulse,
            patience,
            stuck: None,
            parting: None,
        }
    }

    /// Waits until there is something to read, on a connection that was read before.
    /// `false`: it is broken.
    pub(super) async fn has_more(&self) -> bool {
        !self.peeked.is_empty() || self.tcp.readable().await.is_ok()
    }

    /// The same on a new connection, which counts as readable until somebody has looked.
    pub(super) async fn has_begun(&self) -> bool {
        !self.peeked.is_empty() || self.tcp.peek(&mut [0]).await.is_ok()
    }

    /// What came of a write, unless the client has taken nothing for too long.
    fn poll_taken<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sent = 0;
        let result = loop {
            if sent == self.gathered.len() {
                break Poll::Ready(Ok(()));
            }
            let written = Pin::new(&mut self.tcp).poll_write(cx, &self.gathered[sent..]);
            match self.poll_taken(cx, written) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.forget(sent);
        result
    }

    fn forget(&mut self, sent: usize) {
        if sent < self.gathered.len() {
            self.gathered.drain(..sent);
        } else if self.gathered.capacity() > KEPT {
            self.gathered = Vec::new();
        } else {
            self.gathered.clear();
        }
    }

    /// Reads and drops what the client is still sending, for a moment. That nothing has come says nothing
    /// about what is on its way; a client that is done closes, which ends this at once.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let parting = self.parting.get_or_insert_with(|| {
            Box::new(Parting { until: Box::pin(tokio::time::sleep(LINGER_FOR)), left: LINGER_BYTES })
        });
        while parting.left > 0 && parting.until.as_mut().poll(cx).is_pending() {
            let mut scratch = [0; 4096];
            let mut read = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut read)) {
                Ok(()) if !read.filled().is_empty() => {
                    parting.left = parting.left.saturating_sub(read.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.peeked.is_empty() {
            ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
            self.pulse.beat();
            return Poll::Ready(Ok(()));
        }
        let count = buf.remaining().min(self.peeked.len());
        let bytes: Vec<u8> = self.peeked.drain(..count).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.gathered.len() + data.len() <= GATHER {
            this.gathered.extend_from_slice(data);
            return Poll::Ready(Ok(data.len()));
        }
        loop {
            if this.gathered.is_empty() {
                let written = Pin::new(&mut this.tcp).poll_write(cx, data);
                return this.poll_taken(cx, written);
            }
            let both = [IoSlice::new(&this.gathered), IoSlice::new(data)];
            let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, &both);
            let sent = ready!(this.poll_taken(cx, written))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_data = sent.saturating_sub(this.gathered.len());
            this.forget(sent);
            if of_data > 0 {
                return Poll::Ready(Ok(of_data));
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_gathered(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(cx))?;
        if self.parting.is_none() {
            ready!(Pin::new(&mut self.tcp).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[async_trait]
impl Shutdown for Wire {
    async fn shutdown(&mut self) {
        // The client may be gone already: there is nobody left to tell.
        let _ = AsyncWriteExt::shutdown(self).await;
    }
}

#[async_trait]
impl Peek for Wire {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.read_exact(buf).await?;
        self.peeked.extend(buf.iter());
        Ok(true)
    }
}

impl UniqueID for Wire {
    fn id(&self) -> UniqueIDType {
        self.tcp.as_raw_fd()
    }
}

impl Ssl for Wire {}

impl GetTimingDigest for Wire {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Wire {
    fn get_proxy_digest(&self) -> Option<Arc<raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Wire {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}
