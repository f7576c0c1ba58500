//! A way to a server that a test can cut, silence and mend, and that knows what a Redis is asked.
//!
//! Law: a cut way closes every connection and refuses new ones; a silent one keeps them and
//! carries nothing, as a dead cable does.

use std::net::SocketAddr;

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::upstream::spawn;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Silent,
    Cut,
}

/// A proxy of bytes in front of a server.
pub struct Cut {
    address: SocketAddr,
    way: watch::Sender<Way>,
    asked: Asked,
}

/// The names of the commands that clients sent, where they speak as to a Redis.
type Asked = Arc<Mutex<Vec<String>>>;

impl Cut {
    /// In front of the server that a URL names; the URL that leads through here.
    pub async fn in_front_of(url: &str) -> (Self, String) {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (login, server) = match rest[..end].rsplit_once('@') {
            Some((login, server)) => (format!("{login}@"), server.to_owned()),
            None => (String::new(), rest[..end].to_owned()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().unwrap();
        let ((way, seen), asked) = (watch::channel(Way::Open), Asked::default());
        let heard = Arc::clone(&asked);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(carry(stream, server.clone(), seen.clone(), Arc::clone(&heard)));
            }
        });
        (Self { address, way, asked }, format!("{scheme}://{login}{address}{}", &rest[end..]))
    }

    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// What Redis was asked since this was called last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    pub fn mend(&self) {
        self.way.send_replace(Way::Open);
    }
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cut({}, {:?})", self.address, *self.way.borrow())
    }
}

async fn carry(client: TcpStream, server: String, mut way: watch::Receiver<Way>, asked: Asked) {
    if way.wait_for(|way| *way != Way::Silent).await.is_ok_and(|way| *way == Way::Cut) {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = pump(from_client, to_server, way.clone(), Some(asked));
    let down = pump(from_server, to_client, way.clone(), None);
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = way.wait_for(|way| *way == Way::Cut) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: watch::Receiver<Way>,
    asked: Option<Asked>,
) {
    let (mut chunk, mut said) = (vec![0; 16 * 1024], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        if way.wait_for(|way| *way == Way::Open).await.is_err()
            || to.write_all(&chunk[..count]).await.is_err()
        {
            return;
        }
        if let Some(asked) = &asked {
            said.extend_from_slice(&chunk[..count]);
            while let Some((name, length)) = command(&said) {
                asked.lock().unwrap().push(name);
                said.drain(..length);
            }
        }
    }
}

/// The first command and its length, once all of it is there: an array of strings.
fn command(said: &[u8]) -> Option<(String, usize)> {
    let (count, mut at) = number(said, 0, b'*')?;
    let mut name = None;
    for _ in 0..count {
        let (length, begin) = number(said, at, b'$')?;
        at = begin + length + 2;
        let text = said.get(begin..at)?;
        name.get_or_insert_with(|| String::from_utf8_lossy(&text[..length]).to_uppercase());
    }
    Some((name?, at))
}

/// The number on the line that begins at `at`, and where the next line begins; nothing where it is none, as
/// in what is said to a database.
fn number(said: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let rest = said.get(at..)?;
    let end = rest.windows(2).position(|end| end == b"\r\n")?;
    let digits = rest[..end].strip_prefix(&[kind])?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, at + end + 2))
}
