//! Where a running gateway's own log goes: standard error, in the configured form.
//! Libraries below say less than we do: their news is rarely for an operator.
//!
//! Law: whoever has something to say never waits for the log. A thread of its own writes it, and
//! what a stuck output does not take is lost.

use std::io::{self, IsTerminal as _, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogForm, LogLevel, Telemetry};

/// Lines that may wait for the output.
const WAITING: usize = 4096;
/// How long the last lines may take.
const LAST_WITHIN: Duration = Duration::from_secs(1);

enum Said {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Last(SyncSender<()>),
}

/// A log that is being written. Dropped, it waits a moment for what was said last.
#[must_use]
pub struct Log(SyncSender<Said>);

/// Begins to write the log. A second call changes nothing.
pub fn begin(telemetry: &Telemetry) -> Log {
    let level = match telemetry.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,portcullis=info",
        LogLevel::Debug => "info,portcullis=debug",
    };
    let (sender, receiver) = sync_channel(WAITING);
    // Without its thread nothing is logged, and the gateway serves all the same.
    drop(std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&receiver, io::stderr())));
    let log = Log(sender.clone());
    // Colours are for people who look on: in a file they stand between the words of a line.
    let is_seen = io::stderr().is_terminal();
    let lines = fmt().with_writer(move || Line(sender.clone())).with_ansi(is_seen);
    let lines = lines.with_env_filter(EnvFilter::new(level));
    // An error means that a log was begun before.
    drop(match telemetry.log {
        LogForm::Json => lines.json().try_init(),
        LogForm::Text => lines.try_init(),
    });
    log
}

fn write(said: &Receiver<Said>, mut out: impl Write) {
    for one in said {
        match one {
            // A log that cannot be written is no reason to stop.
            Said::Line(line) => drop(out.write_all(&line)),
            Said::Last(written) => drop(written.send(())),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, is_written) = sync_channel(1);
        if self.0.try_send(Said::Last(written)).is_ok() {
            // A time-out means that nobody reads what we write.
            let _written = is_written.recv_timeout(LAST_WITHIN);
        }
    }
}

/// One event on its way to the log: the formatter writes it in one piece.
struct Line(SyncSender<Said>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What does not fit is lost.
        drop(self.0.try_send(Said::Line(bytes.to_vec())));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_speaks_never_waits_and_the_last_word_is_written() {
        let (sender, receiver) = sync_channel(2);
        for word in ["one ", "two ", "lost "] {
            assert_eq!(Line(sender.clone()).write(word.as_bytes()).unwrap(), word.len());
        }
        let mut out = Vec::new();
        drop(sender);
        write(&receiver, &mut out);
        assert_eq!(out, b"one two ");
        let (sender, receiver) = sync_channel(WAITING);
        let writer = std::thread::spawn(move || {
            let mut out = Vec::new();
            write(&receiver, &mut out);
            out
        });
        let log = Log(sender);
        Line(log.0.clone()).write_all(b"last").unwrap();
        drop(log);
        assert_eq!(writer.join().unwrap(), b"last");
    }
}
