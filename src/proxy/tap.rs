//! What a client sends over HTTP/1, looked at before the framework reads it.
//!
//! Law: of a body in chunks nothing is handed on that was not read strictly first, so that no two
//! readers disagree about its end. Of a head no more is kept than may be read, and one read: a head that goes on
//! after that is told so and ends its connection. Nothing else is kept, and HTTP/2 is not looked at at all.

use std::any::Any;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use memchr::memmem;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType, raw_connect,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::respond;
use crate::gate::Rejection;
use crate::gate::chunks::{Chunks, Progress};

const HEAD_END: &[u8] = b"\r\n\r\n";
/// By how much a head may be too long and still be read to its end and refused as everything is.
const TOO_LONG: usize = 8 * 1024;
/// What is told about one that goes on. The framework, which knows nothing of it yet, would say nothing.
static GOES_ON: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let rejection = Rejection::HeadTooLarge;
    let body = respond::without_id(&rejection).to_string();
    format!(
        "HTTP/1.1 {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        rejection.status(),
        body.len()
    )
    .into_bytes()
});

/// Looks at what a connection brings.
#[derive(Debug)]
pub(super) struct Tap {
    is_open: AtomicBool,
    /// Where a head has come so far, nothing more of it is read.
    head_max: AtomicUsize,
    sight: Mutex<Sight>,
}

/// What there is to see.
#[derive(Debug)]
enum Sight {
    /// A head, and what came with it; nothing is kept of one that came alone and at once.
    Head(Begun),
    Chunks(Chunks),
    /// A head that goes on, of which its client was not told yet.
    Endless,
    /// A head without end, or chunks, that end the connection.
    Bad,
}

/// What came of a head.
#[derive(Debug, Default)]
struct Begun {
    kept: Vec<u8>,
    /// How much came, kept or not: lines without anything in them are no head, but are read.
    seen: usize,
}

/// The frame of a body is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InDoubt;

impl Default for Tap {
    fn default() -> Self {
        Self {
            is_open: AtomicBool::new(false),
            head_max: AtomicUsize::new(0),
            sight: Mutex::new(Sight::Head(Begun::default())),
        }
    }
}

impl Tap {
    /// A request over HTTP/1 comes next, with a head of so many bytes at most.
    pub(super) fn begins(&self, head_max: usize) {
        self.head_max.store(head_max.saturating_add(TOO_LONG), Ordering::Relaxed);
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// This head was read, and whether chunks follow it.
    ///
    /// # Errors
    /// When what came with it is in doubt.
    pub(super) fn head_was(&self, head: &[u8], body: Body) -> Result<(), InDoubt> {
        let mut sight = self.sight();
        let kept = match &mut *sight {
            Sight::Head(begun) => std::mem::take(begun).kept,
            Sight::Chunks(_) | Sight::Endless | Sight::Bad => return Err(InDoubt),
        };
        if body == Body::Other {
            self.is_open.store(false, Ordering::Relaxed);
            return Ok(());
        }
        // A head that the framework had to repair is not the one that came.
        let came = if kept.is_empty() { Some(&*kept) } else { kept.strip_prefix(head) };
        let Some(came) = came else {
            *sight = Sight::Bad;
            return Err(InDoubt);
        };
        *sight = Sight::Chunks(Chunks::default());
        self.reads(&mut sight, came)
    }

    /// Whether the connection ends because of its chunks.
    pub(super) fn is_bad(&self) -> bool {
        matches!(*self.sight(), Sight::Bad)
    }

    fn sees(&self, bytes: &[u8]) -> Result<(), InDoubt> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.reads(&mut self.sight(), bytes)
    }

    fn reads(&self, sight: &mut Sight, bytes: &[u8]) -> Result<(), InDoubt> {
        match sight {
            Sight::Head(begun) => {
                // Who reads on has not found its end in what came before.
                if begun.seen > self.head_max.load(Ordering::Relaxed) {
                    *sight = Sight::Endless;
                    return Err(InDoubt);
                }
                begun.seen += bytes.len();
                let is_whole = begun.kept.is_empty()
                    && memmem::find(bytes, HEAD_END).is_some_and(|end| end + HEAD_END.len() == bytes.len());
                if !is_whole {
                    begun.kept.extend_from_slice(bytes);
                }
                Ok(())
            }
            Sight::Chunks(chunks) => match chunks.read(bytes) {
                Ok(Progress::More) => Ok(()),
                Ok(Progress::Over) => {
                    *sight = Sight::Head(Begun::default());
                    self.is_open.store(false, Ordering::Relaxed);
                    Ok(())
                }
                Err(_) => {
                    *sight = Sight::Bad;
                    Err(InDoubt)
                }
            },
            Sight::Endless | Sight::Bad => Err(InDoubt),
        }
    }

    /// Whether a head goes on without end; once.
    fn is_endless(&self) -> bool {
        let mut sight = self.sight();
        let is_endless = matches!(*sight, Sight::Endless);
        if is_endless {
            *sight = Sight::Bad;
        }
        is_endless
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Chunks,
    Other,
}

/// A connection that is looked at.
#[derive(Debug)]
pub(super) struct Tapped<S> {
    inner: S,
    tap: Arc<Tap>,
}

impl<S> Tapped<S> {
    pub(super) const fn new(inner: S, tap: Arc<Tap>) -> Self {
        Self { inner, tap }
    }

    /// What is below `stream`, if it is tapped and this.
    pub(super) fn below(stream: &dyn IO) -> Option<&S>
    where
        S: 'static,
    {
        let stream: &dyn Any = stream.as_any();
        stream.downcast_ref::<Self>().map(|tapped| &tapped.inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let seen = self.tap.sees(&buf.filled()[before..]);
        if seen.is_err() && self.tap.is_endless() {
            // Nothing was written yet for this request, so there is room for it; who takes nothing is told nothing.
            let _ = Pin::new(&mut self.inner).poll_write(cx, &GOES_ON);
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
        Poll::Ready(seen.map_err(|InDoubt| io::ErrorKind::InvalidData.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl<S: Shutdown + Send> Shutdown for Tapped<S> {
    async fn shutdown(&mut self) {
        self.inner.shutdown().await;
    }
}

#[async_trait]
impl<S: Peek + Send> Peek for Tapped<S> {
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        self.inner.try_peek(buf).await
    }
}

impl<S: UniqueID> UniqueID for Tapped<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl<S: Ssl> Ssl for Tapped<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<S: GetTimingDigest> GetTimingDigest for Tapped<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.inner.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.inner.get_write_pending_time()
    }
}

impl<S: GetProxyDigest> GetProxyDigest for Tapped<S> {
    fn get_proxy_digest(&self) -> Option<Arc<raw_connect::ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl<S: GetSocketDigest> GetSocketDigest for Tapped<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 32 * 1024;
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn opened(reads: &[&[u8]]) -> Tap {
        let tap = Tap::default();
        tap.begins(MAX);
        for read in reads {
            tap.sees(read).unwrap();
        }
        tap
    }

    fn is_idle(tap: &Tap) -> bool {
        !tap.is_open.load(Ordering::Relaxed) && kept(tap) == Some(0)
    }

    /// How much memory it holds of a head.
    fn kept(tap: &Tap) -> Option<usize> {
        match &*tap.sight() {
            Sight::Head(begun) => Some(begun.kept.capacity()),
            Sight::Chunks(_) | Sight::Endless | Sight::Bad => None,
        }
    }

    #[test]
    fn chunks_are_read_wherever_the_reads_end() {
        let body = b"1\r\na\r\n0\r\n\r\n";
        let whole = [HEAD, body].concat();
        for cut in 1..whole.len() {
            let (first, second) = whole.split_at(cut);
            let tap = opened(&[first]);
            if cut < HEAD.len() {
                tap.sees(second).unwrap();
            }
            assert_eq!(tap.head_was(HEAD, Body::Chunks), Ok(()));
            if cut >= HEAD.len() {
                tap.sees(second).unwrap();
            }
            assert!(is_idle(&tap), "cut at {cut}");
        }
    }

    #[test]
    fn bad_chunks_are_found_wherever_they_come_and_end_everything() {
        let bad = b"1;\n\r\n";
        let tap = opened(&[&[HEAD, bad].concat()]);
        assert_eq!(tap.head_was(HEAD, Body::Chunks), Err(InDoubt));
        let later = opened(&[HEAD]);
        assert_eq!(later.head_was(HEAD, Body::Chunks), Ok(()));
        assert_eq!(later.sees(bad), Err(InDoubt));
        for tap in [tap, later] {
            assert!(tap.is_bad());
            tap.begins(MAX);
            assert_eq!(tap.sees(b"G"), Err(InDoubt));
        }
    }

    #[test]
    fn a_repaired_head_has_no_chunks() {
        let tap = opened(&[&[HEAD, b"0\r\n\r\n"].concat()]);
        assert_eq!(tap.head_was(b"POST /%20 HTTP/1.1\r\n\r\n", Body::Chunks), Err(InDoubt));
    }

    #[test]
    fn a_head_without_an_end_is_kept_no_longer_than_a_head_may_be() {
        const READ: usize = 4096;
        for piece in [&[b'a'; READ][..], b"\r\n\r\n", b"X: y\r\n", b"\n"] {
            let (tap, mut came) = (opened(&[]), 0);
            while tap.sees(piece).is_ok() {
                came += piece.len();
                assert!(came <= MAX + TOO_LONG + READ, "{piece:?} goes on");
                // A vector has room for twice what is in it.
                assert!(kept(&tap) <= Some(2 * (MAX + TOO_LONG + READ)));
            }
            assert!(came > MAX, "{piece:?} was cut early");
            assert!(kept(&tap).is_none(), "nothing of it is kept");
            assert!(tap.is_endless() && !tap.is_endless() && tap.is_bad(), "its client is told once");
            assert_eq!(tap.head_was(piece, Body::Other), Err(InDoubt));
        }
    }

    #[test]
    fn many_half_heads_keep_what_they_brought_and_no_more() {
        let half = &HEAD[..20];
        let taps: Vec<_> = (0..1000).map(|_| opened(&[half])).collect();
        let all: usize = taps.iter().filter_map(kept).sum();
        assert!(all <= 1000 * 2 * half.len(), "{all} bytes");
    }

    #[test]
    fn nothing_is_kept_of_what_has_no_chunks() {
        let alone = opened(&[HEAD]);
        assert_eq!(kept(&alone), Some(0), "not even for a moment");
        let slow = opened(&[&HEAD[..9], &HEAD[9..], b"abc"]);
        let long = opened(&[&vec![b'a'; MAX + 1]]);
        for tap in [alone, slow, long] {
            assert_eq!(tap.head_was(HEAD, Body::Other), Ok(()));
            tap.sees(b"1;\n").unwrap();
            assert!(is_idle(&tap));
        }
    }
}
