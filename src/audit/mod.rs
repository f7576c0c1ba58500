//! What happened, who did it, and the chains that show that nothing was taken out.
//!
//! Law: an audit row is written in the transaction of the change it tells of, by `append`, which `app` alone calls;
//! what the data plane decided has a chain of its own ([`Stream`]). A chain holds codes, ids and a salted digest; what may have to be
//! erased (addresses, user agents, details) lies beside it, and the chain stays whole without it.

mod actor;
mod chain;
mod event;
mod find;
mod store;
mod stream;
mod subject;
mod tombstone;
mod vouch;
#[cfg(test)]
mod tests;

pub use actor::{Actor, Who};
pub use chain::{Broken, Buried, Finding, Head, Kept, Noted, USER_AGENT_MAX, Whole, append, kept, verify};
pub use event::{
    AccountEvent, AgentEvent, ApiKeyEvent, ApplicationEvent, ApprovalEvent, Basis, CODES, Contact, Decided,
    Delegation, EndReason, Event, FactorEvent, How, KeyEvent, LoginFailure, OrganizationEvent, PasskeyEvent,
    PrivacyEvent, Redefined, RightsEvent, SessionEvent, Settled, Step, Suspension, SystemEvent, Verdict,
    Voided, following,
};
pub use find::{About, Before, Found, Search, oldest_first, one, search};
pub use store::{
    Row, Sought, count_of, erase, head, last_before, latest, latest_of, may_remove, oldest, remove_some,
    tail, tail_of,
};
pub use stream::Stream;
pub use subject::Subject;
pub use tombstone::Tombstone;
pub use vouch::{HEAD_LINE, NotSigned, SignedHead};
