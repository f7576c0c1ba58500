//! Notices about agent tokens.
//!
//! Law: a suspension is told once for each time that it happened, however many requests caused it.

use serde_json::json;

use super::{mailbox, write};
use crate::agent::{self, Reference, reason_name};
use crate::app::Change;
use crate::audit::{Delegation, Suspension};
use crate::config::Notice;
use crate::notify::{self, Letter, Occasion};
use crate::store::Error;

/// Tells the human, unless it was they who did it, and the programs that want to know.
pub(super) async fn suspended(
    change: &mut Change<'_>,
    of: Delegation,
    reason: Suspension,
) -> Result<(), Error> {
    let Some(token) = agent::find(change.tx(), Reference::Id(of.token)).await? else { return Ok(()) };
    let occasion = Occasion {
        notice: Notice::AgentSuspended,
        site: token.site,
        // A token that was resumed can be suspended again.
        key: format!("{}:{}", token.id, token.resumes),
        until: None,
    };
    let data = json!({
        "token": token.number,
        "agent_id": token.agent,
        "account": token.account,
        "organization": token.organization,
        "reason": reason_name(reason),
    });
    notify::call(change, &occasion, &data).await?;
    if change.actor().who.account() == Some(token.account) {
        return Ok(());
    }
    let Some(to) = mailbox(change, token.account, occasion.notice).await? else { return Ok(()) };
    let letter = Letter {
        account: Some(token.account),
        to,
        subject: format!("Your agent \"{}\" was stopped", token.agent),
        text: format!(
            "Your agent \"{}\" (token {}) was stopped because {}.\n\n\
             Nothing is let through in its name until you resume it.\n",
            token.agent,
            token.number.0,
            why(reason)
        ),
    };
    write(change, &occasion, token.account, letter).await
}

const fn why(reason: Suspension) -> &'static str {
    match reason {
        Suspension::RateLimit => "it asked for more than it may within a minute",
        Suspension::Anomaly => "too many of its requests failed one after the other",
        Suspension::Manual => "somebody stopped it",
        Suspension::HeartbeatMissing => "its sign of life did not come in time",
        Suspension::BudgetExceeded => "its budget is spent",
    }
}
