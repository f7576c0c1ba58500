//! Decides about one request: may it pass, as whom, and with what written on it.
//!
//! Law: this module answers with a [`Rejection`] or with something that carries its own proof;
//! it never writes to a socket and never names the proxy. `proxy` carries out what it decided.

mod rejection;

pub use rejection::{Pace, Rejection, Silent};
