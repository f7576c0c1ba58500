//! How built-in endpoints are declared and answered.
//!
//! Law: this module knows statuses and bytes, and nothing of routes, upstreams or Pingora. Slices
//! declare rows; the gate reads a request, asks the table, and checks the access that the row
//! names before a handler runs.

pub mod code;
pub mod cookie;
pub mod error;
pub mod fields;
pub mod form;
pub mod json;
pub mod reply;

pub use code::ErrorCode;
pub use error::ApiError;
pub use fields::{Fields, Unknown};
pub use reply::{Created, Json, Output, Reply};
