//! Carries out what the gate decided: the one module, with `server`, that names the framework.
//!
//! Law: nothing is forwarded that the gate did not permit, nothing is counted twice, and every
//! exchange ends recorded, whatever ends it.

mod admission;
mod answer;
mod arrive;
mod caching;
mod client;
mod connection;
mod connectors;
mod crowd;
mod ctx;
mod decide;
mod errand;
mod execute;
mod fault;
mod forward;
mod hygiene;
mod incoming;
mod listen;
mod public;
mod record;
mod redact;
mod respond;
mod service;
mod slot;
mod small;
mod tap;
pub mod tls;
pub mod upstream;
mod wire;

pub use admission::Caps;
pub use decide::{Decide, Decided, Decision, Found};
pub use errand::Errands;
pub use forward::{Forward, Held, Subject, Until};
pub use hygiene::foreign_cookies;
pub use listen::Phase;
pub use public::{Public, Speech};
pub use record::{AccessLog, Recorder};
pub use service::{Edge, Patience};
pub use small::{Ask, Small};
