//! Profile: what a person sees and changes of their own account.
//!
//! Law: whoever takes over an open session cannot take over the account with it. A new e-mail
//! address or phone number asks for the present password, is only wished for until it is proved,
//! and is answered alike whether or not somebody else has it.

mod http;
mod input;
#[cfg(test)]
mod tests;

pub use http::{edit, keep, rows};
pub use input::ProfileChange;
