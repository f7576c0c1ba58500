//! What happened, counted, and how many there are (contract section 24), for those who watch over a site.
//!
//! Law: an entry of the audit trail is counted once, however many gateways count and whatever becomes of them:
//! the cursor moves in the transaction that adds, and only from where its reader found it. Nothing is counted
//! while it happens, so no login waits for it; who reads statistics reads counters, and never the trail.
//! Counters name nobody, so they stay when entries are erased or pruned.

mod calendar;
mod counters;
mod fold;
mod http;
mod present;
mod report;
mod store;
#[cfg(test)]
mod tests;

pub use calendar::{Period, date};
pub use fold::{FOLD_EVERY, Folder};
pub use http::rows;
pub use present::{Present, present};
pub use report::{Day, Point, Report, Today, points, report, today};

/// What says that somebody attacks: what happened, and how or why where only some of it does.
const SUSPICIOUS: [(&str, Option<&str>); 6] = [
    ("refresh_reuse", None),
    ("account_locked", Some("rule")),
    ("session_limit_exceeded", None),
    ("device_limit_exceeded", None),
    ("passkey_counter_regressed", None),
    ("agent_token_suspended", Some("ANOMALY")),
];

fn is_suspicious(kind: &str, detail: &str) -> bool {
    SUSPICIOUS.iter().any(|(code, how)| *code == kind && how.is_none_or(|how| how == detail))
}
