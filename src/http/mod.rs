//! How built-in endpoints are declared and answered.
//!
//! Law: this module knows statuses and bytes, and nothing of routes, upstreams or Pingora. Slices
//! declare rows; the gate reads a request, asks the table, and checks the access that the row
//! names before a handler runs.

pub mod call;
pub mod code;
pub mod cookie;
pub mod csrf;
pub mod error;
pub mod feed;
pub mod fields;
pub mod form;
pub mod fresh;
pub mod input;
pub mod json;
pub mod keyset;
#[cfg(test)]
pub mod law;
pub mod limit;
pub mod openapi;
pub mod ordering;
pub mod page;
pub mod paging;
pub mod reply;
pub mod row;
pub mod shape;
pub mod table;
pub mod wellknown;
pub mod wording;

#[cfg(test)]
mod tests;

pub use call::{Body, Call, CallHead};
pub use code::ErrorCode;
pub use error::ApiError;
pub use feed::{Cut, Feed};
pub use fields::{Fields, Unknown};
pub use input::{FromFields, Input, Nothing, Query, read_form};
pub use keyset::{Cursor, Keyset, LOOKED_THROUGH, Mark, Onward, gather};
pub use limit::Bucket;
pub use ordering::Ordering;
pub use paging::{Paged, Paging};
pub use reply::{Created, Json, NoContent, Output, Reply};
pub use row::{Access, KeysAsked, Row, del, get, patch, post, put};
pub use table::{Found, Table};
pub use wording::{Asked, Wording};
