//! Tells the service manager that started the process how it is (`sd_notify(3)`).
//!
//! Law: where there is no manager nothing is sent, and one that cannot be told is only logged: it
//! decides by itself what to make of the silence.

use std::io;

use sd_notify::NotifyState;

use crate::config;

const SOCKET: &str = "NOTIFY_SOCKET";

/// Requests are answered.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Another configuration is looked at; [`ready`] comes after it, whatever became of it.
pub(super) fn reloading() {
    // By its clock the manager tells this reload from one before (`Type=notify-reload`).
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The way down has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    let Some(socket) = config::environment::of_process(SOCKET) else { return };
    let told = match socket.strip_prefix('@') {
        Some(name) => send_to_abstract(name, states),
        None => sd_notify::notify(states),
    };
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// `sd_notify` knows sockets in the file system only, and takes `@name` for such a path.
#[cfg(target_os = "linux")]
fn send_to_abstract(name: &str, states: &[NotifyState<'_>]) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let address = SocketAddr::from_abstract_name(name)?;
    UnixDatagram::unbound()?.send_to_addr(lines.join("\n").as_bytes(), &address).map(drop)
}

/// Only Linux has names beside the file system.
#[cfg(not(target_os = "linux"))]
fn send_to_abstract(_: &str, _: &[NotifyState<'_>]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
