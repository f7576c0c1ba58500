//! A way to a server that a test can cut, silence and mend.
//!
//! Law: a cut way closes every connection and refuses new ones; a silent one keeps them and
//! carries nothing, as a dead cable does.

use std::net::SocketAddr;

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
}

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
        let (way, seen) = watch::channel(Way::Open);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(carry(stream, server.clone(), seen.clone()));
            }
        });
        (Self { address, way }, format!("{scheme}://{login}{address}{}", &rest[end..]))
    }

    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    pub fn silence(&self) {
        self.way.send_replace(Way::Silent);
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

async fn carry(client: TcpStream, server: String, mut way: watch::Receiver<Way>) {
    if way.wait_for(|way| *way != Way::Silent).await.is_ok_and(|way| *way == Way::Cut) {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (up, down) = (pump(from_client, to_server, way.clone()), pump(from_server, to_client, way.clone()));
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
) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        if way.wait_for(|way| *way == Way::Open).await.is_err()
            || to.write_all(&chunk[..count]).await.is_err()
        {
            return;
        }
    }
}
