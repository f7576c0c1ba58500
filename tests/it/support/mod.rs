//! What the tests stand on: a gateway, upstreams that tell what reached them, and raw clients.
//!
//! Law: every test has its own gateway on free ports with its own store; nothing is shared.

use std::sync::atomic::{AtomicU32, Ordering};

pub mod authenticator;
pub mod chromium;
pub mod cut;
pub mod directory;
pub mod dump;
pub mod foreign;
pub mod forms;
pub mod frame;
pub mod gateway;
pub mod h2;
pub mod log;
pub mod people;
pub mod provider;
pub mod raw;
pub mod replica;
pub mod smtp;
pub mod tls;
pub mod upstream;

pub use cut::Cut;
pub use foreign::Foreign;
pub use gateway::Gateway;
pub use raw::{Client, exchange};
pub use replica::Replicas;
pub use upstream::{Act, Seen, Upstream};

/// A port on which nobody listens, and which nobody else is given: below those that systems hand out by
/// themselves, twenty for each process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() % 500 * 20 + number) % 10_000;
        let port = u16::try_from(port).expect("a port");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// How long the soak lasts where somebody says so.
#[expect(clippy::disallowed_methods, reason = "the one length of a test that is told from outside")]
pub fn soak_seconds() -> Option<u64> {
    let text = std::env::var("PORTCULLIS_SOAK_SECONDS").ok()?;
    Some(text.parse().expect("PORTCULLIS_SOAK_SECONDS is a number of seconds"))
}

/// How often a test repeats what it does: more in `make test-long`.
#[expect(clippy::disallowed_methods, reason = "the one switch of the tests")]
pub fn times(short: usize, long: usize) -> usize {
    if std::env::var_os("PORTCULLIS_TEST_LONG").is_some() { long } else { short }
}
