//! `portcullis run`: the gateway itself.
//! Standard output gets one line, when it serves; logs go to standard error.

use std::path::Path;
use std::sync::Arc;

use super::out::{Failure, Out, note};
use super::{log, open};
use crate::base::{SystemClock, SystemRandom};
use crate::proxy::upstream::SystemNames;
use crate::server::{self, Start};

/// Runs until the process is told to stop.
pub fn run(path: &Path, out: &mut Out) -> Result<(), Failure> {
    let loaded = open::config(path)?;
    let _log = log::begin(&loaded.config.telemetry);
    let start = Start {
        loaded,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        names: Arc::new(SystemNames),
        access_log: Box::new(std::io::stderr()),
    };
    let ready = |running: &server::Running| {
        let told = out.line(format_args!("ready public={} admin={}", running.public, running.admin));
        if told.is_err() {
            note("nobody reads standard output; the gateway serves all the same");
        }
    };
    open::block_on(async { server::run(start, Some(path.to_owned()), ready).await.map_err(Failure::problem) })
}
