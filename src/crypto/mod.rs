//! Cryptography: digests, opaque tokens, sealing, signed tokens, signing keys, password hashes.
//!
//! Law: nothing here does I/O or reads a clock; time and randomness come in as parameters. Every
//! primitive is ring's or RustCrypto's; this module only decides which one, with which key, and
//! what it refuses.

pub mod digest;
pub mod jwt;
pub mod key;
pub mod keyring;
pub mod password;
mod provider;
pub mod seal;
pub mod token;
