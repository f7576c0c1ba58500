//! Decides about one request: may it pass, as whom, and with what written on it.
//!
//! Law: this module answers with a [`Rejection`] or with something that carries its own proof;
//! it never writes to a socket and never names the proxy. `proxy` carries out what it decided.

pub mod authority;
pub mod body;
mod framing;
pub mod head;
mod rejection;
pub mod request_id;
pub mod strip;
pub mod target;

pub use head::RequestHead;
pub use rejection::{Flaw, Pace, Rejection, Silent};
pub use target::CanonicalTarget;
