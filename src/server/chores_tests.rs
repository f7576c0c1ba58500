//! What the log says of the audit trail, turn after turn.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt;

use super::*;
use crate::app::testing::{TestApp, With};
use crate::audit::{Actor, SystemEvent};
use crate::crypto::seal::SealKey;
use crate::store::sql;
use crate::store::testing::TestStore;

const PATIENCE: Duration = Duration::from_secs(30);

/// What this thread says, which is all of a test that has one.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = fmt().with_ansi(false).with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(lines.finish()))
    }

    /// The lines that have all these parts.
    fn lines(&self, parts: &[&str]) -> Vec<String> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(text).unwrap();
        let own = text.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        own.map(str::to_owned).collect()
    }

    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns once so many lines have these parts.
    async fn until(&self, count: usize, parts: &[&str]) {
        let start = Instant::now();
        while self.lines(parts).len() < count {
            assert!(start.elapsed() < PATIENCE, "no {count} lines with {parts:?}: {:?}", self.lines(&[]));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The line of a stream.
const CHANGES: &str = "stream=\"changes\"";
const DATA_PLANE: &str = "stream=\"data_plane\"";

/// A trail with two rows in each stream.
async fn scene() -> TestApp {
    let app = TestApp::on(TestStore::sqlite().await, With::default()).await;
    for number in ["1", "2"] {
        let mut change = app.change(Actor::system()).await.unwrap();
        change.record(SystemEvent::ConfigReloaded { sha256: number.to_owned() }).await.unwrap();
        change.commit().await.unwrap();
        let event = SystemEvent::RequestPassed { route: number.to_owned(), method: "GET".to_owned() };
        app.write_down(Actor::system(), event).await.unwrap();
    }
    app
}

/// The signed heads that lines say, each read back with the key that signed it.
fn heads(lines: &[String]) -> Vec<i64> {
    let seal = SealKey::from_bytes([7; 32]);
    let signed = lines.iter().map(|line| line.split_once("signed=").unwrap().1.trim());
    signed.map(|text| SignedHead::read(&seal, text).unwrap().head.seq).collect()
}

#[tokio::test]
async fn both_streams_are_vouched_for_turn_after_turn_as_far_as_they_go() {
    let (log, _guard) = Log::begin();
    let app = scene().await;
    vouch_every(&app, Duration::from_millis(10));
    log.until(2, &[HEAD_LINE, CHANGES]).await;
    log.until(2, &[HEAD_LINE, DATA_PLANE]).await;
    let floor = Stream::DataPlane.floor();
    assert!(heads(&log.lines(&[HEAD_LINE, CHANGES])).iter().all(|seq| *seq == 2));
    assert!(heads(&log.lines(&[HEAD_LINE, DATA_PLANE])).iter().all(|seq| *seq == floor + 2));
    let mut change = app.change(Actor::system()).await.unwrap();
    change.record(SystemEvent::ConfigReloaded { sha256: "3".to_owned() }).await.unwrap();
    change.commit().await.unwrap();
    log.until(1, &[HEAD_LINE, CHANGES, "seq=3"]).await;
    let last = log.lines(&[HEAD_LINE, CHANGES, "seq=3"]);
    assert!(heads(&last).iter().all(|seq| *seq == 3), "{last:?}");
    assert_eq!(log.lines(&["ERROR"]), Vec::<String>::new());
    assert!(app.tasks.shutdown(PATIENCE).await.is_empty());
}

#[tokio::test]
async fn an_end_that_was_forged_is_an_error_that_nobody_signs_and_the_other_stream_is_vouched_for() {
    let (log, _guard) = Log::begin();
    let app = scene().await;
    vouch_every(&app, Duration::from_millis(10));
    log.until(1, &[HEAD_LINE, CHANGES]).await;
    let mut tx = app.db.begin().await.unwrap();
    assert_eq!(tx.execute(sql("UPDATE audit SET code = 'logout' WHERE seq = 2")).await.unwrap(), 1);
    tx.commit().await.unwrap();
    log.until(1, &["ERROR", FORGED_LINE, CHANGES, "audit row 2 of the changes was changed"]).await;
    log.forget();
    log.until(2, &["ERROR", FORGED_LINE, CHANGES]).await;
    log.until(2, &[HEAD_LINE, DATA_PLANE]).await;
    assert_eq!(log.lines(&[HEAD_LINE, CHANGES]), Vec::<String>::new(), "nothing is signed");
    assert!(log.lines(&["ERROR"]).iter().all(|line| !line.contains("signed=")));
    assert!(app.tasks.shutdown(PATIENCE).await.is_empty());
}
