//! Where a running gateway's own log goes: standard error, in the configured form.
//! Libraries below say less than we do: their news is rarely for an operator.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogForm, LogLevel, Telemetry};

/// Begins to write the log. A second call changes nothing.
pub fn begin(telemetry: &Telemetry) {
    let level = match telemetry.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,portcullis=info",
        LogLevel::Debug => "info,portcullis=debug",
    };
    let lines = fmt().with_writer(std::io::stderr).with_env_filter(EnvFilter::new(level));
    // An error means that a log was begun before.
    drop(match telemetry.log {
        LogForm::Json => lines.json().try_init(),
        LogForm::Text => lines.try_init(),
    });
}
