//! What may be decided, as data: path patterns, permission codes, the `allow` tree, the catalogue.
//!
//! Law: no I/O and no time of its own. `config` checks with it, `rbac` fills it, `gate` evaluates
//! it. Everything here is closed by default: what is not known grants nothing.

pub mod bits;
pub mod code;
pub mod host;
pub mod method;
pub mod pattern;
pub mod table;

pub use bits::Bits;
pub use code::{Code, Grant};
pub use host::Host;
pub use method::Methods;
pub use pattern::Pattern;
pub use table::{Clash, Found, Params, Table};
