//! The words that every other module speaks: ids, time, money, secrets, addresses, text.
//!
//! Law: nothing here does I/O, and a value of these types is already valid. Text that came from
//! outside becomes one of these types once and is never checked again as a string.

pub mod id;
pub mod ip;
pub mod json;
pub mod money;
pub mod random;
pub mod secret;
pub mod text;
pub mod time;
pub mod visible;

pub use id::{Id, Number};
pub use money::MicroUsd;
pub use random::{Random, SystemRandom};
pub use secret::Secret;
pub use text::{Email, Phone, Slug};
pub use time::{Clock, SystemClock, TestClock, Timestamp};
pub use visible::visible;
