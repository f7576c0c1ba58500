//! The directory of the tests (a real slapd), and one that lies.
//!
//! Law: the real one is asked over TLS by whoever checks its name; people in it are never changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::upstream::spawn;

/// What everybody's password is there.
pub const KNOWN: &str = "The-directory-9-knows";
pub const PEOPLE: &str = "ou=people,dc=example,dc=com";

#[expect(clippy::disallowed_methods, reason = "tests find their servers in the environment")]
fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with `make test`, which starts the servers")
    })
}

/// How the real directory is reached.
pub struct Slapd {
    /// Upgraded by StartTLS.
    pub ldap: String,
    pub ldaps: String,
    pub ca: String,
    /// What the gateway's own entry searches with.
    pub password: String,
}

impl Slapd {
    pub fn here() -> Self {
        Self {
            ldap: told("PORTCULLIS_TEST_LDAP"),
            ldaps: told("PORTCULLIS_TEST_LDAPS"),
            ca: told("PORTCULLIS_TEST_LDAP_CA"),
            password: told("PORTCULLIS_TEST_LDAP_PASSWORD"),
        }
    }

    /// Where people are found by a search below `base`.
    pub fn searched(&self, base: &str, more: &str) -> String {
        let timeout = patience(more);
        format!(
            "login:\n  ldap:\n    servers: ['{}']\n    ca_file: '{}'\n    search: {{ base: '{base}', \
             filter: '(&(objectClass=person)(uid={{username}}))', bind_dn: 'cn=gateway,dc=example,dc=com', \
             password: '{}' }}\n{timeout}{more}",
            self.ldaps, self.ca, self.password
        )
    }

    /// Where a user name is part of an entry's name, after StartTLS.
    pub fn named(&self, more: &str) -> String {
        let timeout = patience(more);
        format!(
            "login:\n  ldap:\n    servers: ['{}']\n    ca_file: '{}'\n    bind_as: 'uid={{username}},{PEOPLE}'\n{timeout}{more}",
            self.ldap, self.ca
        )
    }
}

/// A busy machine is no slow directory, except where a test says how slow it is.
fn patience(more: &str) -> &'static str {
    if more.contains("timeout:") { "" } else { "    timeout: 20s\n" }
}

/// What a lying directory does with what it is told.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Says this to the first message, this to the second, and so on; nothing after the last.
    Say(Vec<Vec<u8>>),
    /// The same, and hangs up.
    SayAndClose(Vec<Vec<u8>>),
    Hang,
    Close,
}

/// A directory in the clear on this machine that says what a test wants.
pub struct Liar {
    pub address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Liar {
    pub async fn start(deed: Deed) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let deed = deed.clone();
                spawn(async move {
                    let mut heard = [0; 4096];
                    let (all, then) = match deed {
                        Deed::Close => return,
                        Deed::Hang => (Vec::new(), true),
                        Deed::Say(all) => (all, true),
                        Deed::SayAndClose(all) => (all, false),
                    };
                    for answer in all {
                        if !tcp.read(&mut heard).await.is_ok_and(|count| count > 0) {
                            return;
                        }
                        let _ = tcp.write_all(&answer).await;
                    }
                    if then {
                        tokio::time::sleep(Duration::from_mins(1)).await;
                    }
                });
            }
        });
        Self { address, count }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// A configuration that asks it.
    pub fn yaml(&self, way: &str) -> String {
        format!(
            "login:\n  ldap:\n    servers: ['ldap://{}']\n    allow_plain: true\n    timeout: 2s\n    {way}\n",
            self.address
        )
    }
}

/// A part of a message (BER) that holds others.
pub fn part(tag: u8, content: &[Vec<u8>]) -> Vec<u8> {
    let content = content.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], &content].concat()
}

/// An answer to the message of this number: `tag` and a result code.
pub fn outcome(number: u8, tag: u8, code: u8) -> Vec<u8> {
    let result = part(tag, &[vec![0x0a, 1, code], vec![4, 0], vec![4, 0]]);
    part(0x30, &[vec![2, 1, number], result])
}

/// An entry that was found.
pub fn entry(number: u8, name: &str, attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let text = |bytes: &[u8]| part(4, &[bytes.to_vec()]);
    let all: Vec<_> = attributes
        .iter()
        .map(|(name, value)| part(0x30, &[text(name.as_bytes()), part(0x31, &[text(value)])]))
        .collect();
    let entry = part(0x64, &[text(name.as_bytes()), part(0x30, &all)]);
    part(0x30, &[vec![2, 1, number], entry])
}
