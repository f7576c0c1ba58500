//! A mail server that takes mail for a test and is strict about how it is said (RFC 5321).
//!
//! Law: nothing is accepted out of order; what the gateway would get away with elsewhere fails here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::tls::Pair;
use super::upstream::spawn;

/// A mail as it was taken.
#[derive(Debug, Clone)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// Header and body with dots undone, lines joined by a line feed.
    pub text: String,
    pub was_encrypted: bool,
    /// What `AUTH PLAIN` said, in base64.
    pub login: Option<String>,
}

impl Letter {
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\n\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// What the server does at the end of a mail.
#[derive(Debug, Clone, Copy)]
pub enum Take {
    Accept,
    /// Says no with this code.
    Refuse(u16),
    /// Keeps it and never answers.
    Hang,
}

#[derive(Clone)]
pub struct Smtp {
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<Letter>>>,
    next: Arc<Mutex<VecDeque<Take>>>,
    tls: Option<TlsAcceptor>,
}

impl Smtp {
    /// Without TLS, where no login is offered.
    pub async fn plain() -> Self {
        Self::start(None).await
    }

    /// With `STARTTLS`, before which no mail is taken and no login offered.
    pub async fn starttls(own: &Pair) -> Self {
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().unwrap();
        let server = Self { address, taken: Arc::default(), next: Arc::default(), tls };
        let this = server.clone();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = this.clone();
                spawn(async move { server.greet(stream).await });
            }
        });
        server
    }

    /// What happens to the next mails; those after them are accepted.
    pub fn next(&self, takes: impl IntoIterator<Item = Take>) {
        self.next.lock().unwrap().extend(takes);
    }

    pub fn taken(&self) -> Vec<Letter> {
        self.taken.lock().unwrap().clone()
    }

    async fn greet(&self, mut stream: TcpStream) {
        if stream.write_all(b"220 mail.test ESMTP\r\n").await.is_err() {
            return;
        }
        let mut clear = Talk { io: BufReader::new(stream), server: self, is_encrypted: false, login: None };
        if clear.run().await != Some(End::Upgrade) {
            return;
        }
        let Some(tls) = &self.tls else { return };
        assert!(clear.io.buffer().is_empty(), "something was said before TLS began");
        let Ok(stream) = tls.accept(clear.io.into_inner()).await else { return };
        let mut talk = Talk { io: BufReader::new(stream), server: self, is_encrypted: true, login: None };
        talk.run().await;
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Quit,
    Upgrade,
}

/// One conversation.
struct Talk<'a, S> {
    io: BufReader<S>,
    server: &'a Smtp,
    is_encrypted: bool,
    login: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, S> {
    async fn run(&mut self) -> Option<End> {
        let (mut from, mut to, mut greeted) = (None, Vec::new(), false);
        loop {
            let line = self.line().await?;
            let upper = line.to_ascii_uppercase();
            let needs_tls = self.server.tls.is_some() && !self.is_encrypted;
            match upper.split(' ').next().unwrap_or_default() {
                "EHLO" if line.len() > 5 => {
                    greeted = true;
                    self.say(&["250-mail.test", if needs_tls { "250 STARTTLS" } else { self.offers() }])
                        .await?;
                }
                "STARTTLS" if greeted && needs_tls => {
                    self.say(&["220 go on"]).await?;
                    return Some(End::Upgrade);
                }
                "NOOP" if greeted && !needs_tls => self.say(&["250 ok"]).await?,
                "QUIT" => {
                    self.say(&["221 bye"]).await?;
                    return Some(End::Quit);
                }
                _ if needs_tls || !greeted => self.say(&["530 not like this"]).await?,
                "AUTH" if upper.starts_with("AUTH PLAIN ") && self.is_encrypted => {
                    self.login = Some(line[11..].to_owned());
                    self.say(&["235 welcome"]).await?;
                }
                "MAIL" if from.is_none() && upper.starts_with("MAIL FROM:<") => {
                    from = Some(address(&line)?);
                    self.say(&["250 ok"]).await?;
                }
                "RCPT" if from.is_some() && upper.starts_with("RCPT TO:<") => {
                    to.push(address(&line)?);
                    self.say(&["250 ok"]).await?;
                }
                "DATA" if !to.is_empty() => {
                    self.say(&["354 go on"]).await?;
                    let (from, to) = (from.take()?, std::mem::take(&mut to));
                    self.data(from, to).await?;
                }
                _ => self.say(&["503 out of order"]).await?,
            }
        }
    }

    fn offers(&self) -> &'static str {
        if self.is_encrypted { "250 AUTH PLAIN" } else { "250 8BITMIME" }
    }

    async fn data(&mut self, from: String, to: Vec<String>) -> Option<()> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                break;
            }
            assert!(line.len() <= 998 && line.is_ascii(), "a line that not every server takes: {line}");
            lines.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
        }
        let take = self.server.next.lock().unwrap().pop_front().unwrap_or(Take::Accept);
        if let Take::Refuse(code) = take {
            return self.say(&[&format!("{code} no, <{}>", to[0])]).await;
        }
        let letter = Letter {
            from,
            to,
            text: lines.join("\n"),
            was_encrypted: self.is_encrypted,
            login: self.login.clone(),
        };
        self.server.taken.lock().unwrap().push(letter);
        if matches!(take, Take::Hang) {
            std::future::pending::<()>().await;
        }
        self.say(&["250 taken"]).await
    }

    /// A line, which must end as lines end.
    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.io.read_until(b'\n', &mut line).await.ok().filter(|count| *count > 0)?;
        let line = String::from_utf8(line).expect("commands are text");
        Some(line.strip_suffix("\r\n").expect("a line ends with CR LF").to_owned())
    }

    async fn say(&mut self, lines: &[&str]) -> Option<()> {
        for line in lines {
            self.io.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
        }
        self.io.flush().await.ok()
    }
}

fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}
