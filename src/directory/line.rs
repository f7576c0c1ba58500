//! The line to a directory: connected, encrypted, and measured on the way back.
//!
//! Law: nothing is said before the line is encrypted, except that it shall be. Of one login no more
//! is read than a little.

use std::io;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::guard::{message, part};
use crate::config::LdapServer;

/// The most that is read for one login.
const READ_MAX: usize = 1 << 20;
/// `ExtendedRequest` 1.3.6.1.4.1.1466.20037 (RFC 4511 section 4.14), as the first message.
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// Number 1, an `ExtendedResponse`.
const STARTED: [u8; 4] = [2, 1, 1, 0x78];
/// `resultCode` success.
const SUCCESS: [u8; 3] = [0x0a, 1, 0];

/// Bytes in both directions.
pub(super) trait Line: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Why there is no line.
pub(super) type Broken = &'static str;

/// A line to a directory; without a connector it stays as it is.
///
/// # Errors
/// [`Broken`].
pub(super) async fn connect(
    server: &LdapServer,
    tls: Option<&TlsConnector>,
) -> Result<Box<dyn Line>, Broken> {
    let tcp = TcpStream::connect((server.host.as_str(), server.port)).await;
    let mut tcp = tcp.map_err(|_| "it cannot be connected to")?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    if !server.is_tls {
        start_tls(&mut tcp).await?;
    }
    let name = ServerName::try_from(server.host.clone()).map_err(|_| "its name is none")?;
    match tls.connect(name, tcp).await {
        Ok(line) => Ok(Box::new(line)),
        Err(_) => Err("it does not prove who it is, or speaks no TLS"),
    }
}

/// Asks for TLS. What comes after the answer, unasked and in the clear, fails the handshake.
async fn start_tls(tcp: &mut TcpStream) -> Result<(), Broken> {
    tcp.write_all(START_TLS).await.map_err(|_| "it hung up")?;
    let answer = message(tcp).await.map_err(|error| why(&error))?.ok_or("it hung up")?;
    let is_started = part(&answer).is_some_and(|(_, content, _)| {
        let outcome = content.strip_prefix(&STARTED[..3]).and_then(part);
        outcome.is_some_and(|(tag, outcome, _)| tag == STARTED[3] && outcome.starts_with(&SUCCESS))
    });
    if is_started { Ok(()) } else { Err("it offers no StartTLS") }
}

fn why(error: &io::Error) -> Broken {
    match error.kind() {
        io::ErrorKind::InvalidData => "it sends what is no LDAP",
        _ => "it hung up",
    }
}

/// Passes on what is said on `near` and answered on the line, for as long as both sides are there.
pub(super) async fn relay(line: Box<dyn Line>, near: UnixStream) -> Broken {
    let (mut from_there, mut to_there) = tokio::io::split(line);
    let (mut from_here, mut to_here) = near.into_split();
    let out = async {
        // Whoever asks is done, and is not waiting for this.
        let _ = tokio::io::copy(&mut from_here, &mut to_there).await;
        std::future::pending::<Broken>().await
    };
    let back = async {
        let mut left = READ_MAX;
        loop {
            let message = match message(&mut from_there).await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return why(&error),
            };
            let Some(rest) = left.checked_sub(message.len()) else { return "it says too much" };
            left = rest;
            if to_here.write_all(&message).await.is_err() {
                break;
            }
        }
        // What was passed on is still to be read.
        drop(to_here);
        std::future::pending().await
    };
    tokio::select! {
        why = back => why,
        why = out => why,
    }
}
