//! Randomness as a parameter, so that a test can be repeated byte for byte.
//!
//! Law: every secret, id and nonce of the program comes from a `Random` that was handed in.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;

use ring::rand::SecureRandom;

/// A source of random bytes. The one in production is cryptographically secure.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` entirely.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::expect_used,
        reason = "without randomness no secret can be made: stop, never go on with weak bytes"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        ring::rand::SystemRandom::new().fill(bytes).expect("the operating system gives random bytes");
    }
}

/// A repeatable source for tests (xorshift64*). Never secure.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed.max(1)))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            *state ^= *state >> 12;
            *state ^= *state << 25;
            *state ^= *state >> 27;
            let word = state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
