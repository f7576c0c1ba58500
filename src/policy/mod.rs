//! What may be decided, as data: path patterns, permission codes, the `allow` tree, the catalogue.
//!
//! Law: no I/O and no time of its own. `config` checks with it, `rbac` fills it, `gate` evaluates
//! it. Everything here is closed by default: what is not known grants nothing.

pub mod allow;
pub mod approver;
pub mod bits;
pub mod catalogue;
pub mod code;
pub mod definition;
pub mod host;
pub mod judge;
pub mod method;
pub mod pattern;
pub mod seed;
pub mod table;

pub use allow::{Allow, Condition};
pub use approver::{Approver, Approvers};
pub use bits::Bits;
pub use catalogue::{Assignments, Catalogue, Rights};
pub use code::{Code, Grant};
pub use definition::{Definitions, ManagedBy};
pub use host::Host;
pub use judge::{CompiledAllow, Facts, Judgement};
pub use method::Methods;
pub use pattern::Pattern;
pub use table::{Clash, Found, Params, Table};
