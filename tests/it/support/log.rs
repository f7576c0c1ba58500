//! What gateways say as an error while a test runs.
//!
//! Law: an outage that a test makes may be told. Anything else that is an error to the gateway is a
//! failure of the test, whatever its answers looked like.

use std::io::Write;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How stores, mail servers and files that are gone or broken are told.
const OUTAGES: [&str; 16] = [
    "OVERLOADED",
    "PROVIDER_UNAVAILABLE",
    "REDACTION_IMPOSSIBLE",
    "SERVICE_UNAVAILABLE",
    "a change was committed and could not be applied here yet",
    "a notice was given up",
    "a fault that a test made",
    "an agent token could not be suspended",
    "another gateway has taken this store over",
    "the certificate's files cannot be read",
    "the configuration was refused",
    "the end of an approval was not written",
    // A test wrote rows that no gateway writes, or set the clocks of its gateways hours apart.
    "the end of the audit trail is not what was written",
    "the new certificate is not used",
    "the store has gone back",
    "what an agent's call cost beyond its bound was not counted",
];

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Looks, when it is dropped, at what was said in this process.
pub struct Watch(());

impl Watch {
    pub fn begin() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let filter = EnvFilter::new("off,portcullis=error");
            // An error means that a test listens by itself.
            drop(fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Line).try_init());
        });
        Self(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
        let is_outage = |line: &String| OUTAGES.iter().any(|outage| line.contains(outage));
        let rest: Vec<String> = said.into_iter().filter(|line| !is_outage(line)).collect();
        assert!(rest.is_empty(), "the log says what nobody expects:\n{}", rest.concat());
    }
}

struct Line;

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        SAID.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_that_nobody_expects_fails_the_test() {
    let watch = Watch::begin();
    tracing::error!(target: "portcullis::test", "something broke");
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(watch)));
    let said = ended.expect_err("it fails").downcast::<String>().expect("a text");
    assert!(said.contains("the log says what nobody expects"), "{said}");
}

#[test]
fn an_outage_and_what_others_say_fail_nothing() {
    let watch = Watch::begin();
    tracing::error!(target: "portcullis::http::error", code = "SERVICE_UNAVAILABLE", "a request failed");
    tracing::error!(target: "pingora_proxy", "something broke");
    tracing::warn!(target: "portcullis::test", "something may break");
    drop(watch);
}
