//! Notices about approvals: to those who decide, and to the human behind the agent.
//!
//! Law: a notice leads to the page, where the request can be read; it holds nothing that the agent
//! wrote. Each step is told once, a question only while it can be decided.

use serde_json::json;

use super::{mailbox, write};
use crate::app::Change;
use crate::approval::{self, Approval, Reference};
use crate::audit::{ApprovalEvent, Step};
use crate::base::Timestamp;
use crate::config::Notice;
use crate::notify::{self, Letter, Occasion};
use crate::store::Error;

/// What there is to tell about a step.
struct News {
    notice: Notice,
    /// The state, for programs.
    state: &'static str,
    /// Goes on after `What your agent "…" wanted to do`.
    tells: String,
    until: Option<Timestamp>,
}

fn news_of(step: &Step) -> Option<News> {
    let news = |notice, state, tells: &str| News { notice, state, tells: tells.to_owned(), until: None };
    Some(match step {
        Step::Requested { decide_by, .. } => {
            News { until: Some(*decide_by), ..news(Notice::ApprovalRequested, "pending", "waits") }
        }
        Step::Approved { .. } => news(Notice::ApprovalDecided, "approved", "was approved"),
        Step::Denied { .. } => news(Notice::ApprovalDecided, "denied", "was denied"),
        Step::Voided { .. } => {
            news(Notice::ApprovalDecided, "void", "was called off: it cannot be had any more")
        }
        Step::Expired => news(Notice::ApprovalExpired, "expired", "was not decided in time"),
        Step::Lapsed => news(Notice::ApprovalExpired, "lapsed", "was approved and not done in time"),
        Step::Executed { status } => {
            let tells = format!("was done; the answer was {status}");
            news(Notice::ApprovalExecuted, "executed", &tells)
        }
        Step::Failed { status } => {
            let tells = format!("was sent and could not be done; the answer was {status}");
            news(Notice::ApprovalExecuted, "failed", &tells)
        }
        Step::Indeterminate => {
            let tells = "was sent, and nobody knows what came of it";
            news(Notice::ApprovalExecuted, "indeterminate", tells)
        }
        Step::Voted | Step::Claimed | Step::Rearmed => return None,
    })
}

/// Tells of a step.
pub(super) async fn tell(change: &mut Change<'_>, event: &ApprovalEvent) -> Result<(), Error> {
    let Some(mut news) = news_of(&event.step) else { return Ok(()) };
    let config = change.app().config();
    if config.mail.is_none() && config.webhooks.iter().all(|hook| !hook.events.contains(&news.notice)) {
        return Ok(());
    }
    let Some(approval) = approval::find(change.tx(), &Reference::Id(event.approval)).await? else {
        return Ok(());
    };
    if event.step == Step::Indeterminate {
        let is_over = !approval.may_be_repeated(change.now());
        news.tells += if is_over { "; it will not be sent again" } else { "; it may be sent again" };
    }
    let link = format!("{}/portcullis/approvals/{}/", config.public_url, approval.id);
    let occasion = Occasion {
        notice: news.notice,
        site: approval.site,
        key: format!("{}:{}", approval.id, news.state),
        until: news.until,
    };
    let data = json!({
        "approval": approval.id,
        "number": approval.number,
        "state": news.state,
        "agent_id": approval.agent,
        "account": approval.account,
        "organization": approval.organization,
        "title": approval.title,
        "route": approval.route,
        "method": approval.method,
        "permission": approval.permission.as_str(),
        "binding_digest": approval.binding,
        "decide_by": approval.decide_by.rfc3339(),
        "url": link,
    });
    notify::call(change, &occasion, &data).await?;
    if config.mail.is_none() {
        return Ok(());
    }
    let is_question = news.notice == Notice::ApprovalRequested;
    let readers = if let Step::Requested { deciders, .. } = &event.step {
        deciders.clone()
    } else {
        // Who did it knows.
        let by = change.actor().who.account();
        Vec::from_iter(Some(approval.account).filter(|human| Some(*human) != by))
    };
    let mut reached = 0;
    for reader in readers {
        let Some(to) = mailbox(change, reader, news.notice).await? else { continue };
        let (subject, text) =
            if is_question { question(&approval, &link) } else { outcome(&approval, &news, &link) };
        let letter = Letter { account: Some(reader), to, subject, text };
        write(change, &occasion, reader, letter).await?;
        reached += 1;
    }
    if is_question && reached == 0 {
        tracing::warn!(approval = %approval.id,
            "nobody who decides about an approval can be reached by mail; it waits on the page");
    }
    Ok(())
}

/// Subject and text.
fn question(approval: &Approval, link: &str) -> (String, String) {
    let until = notify::clock(approval.decide_by);
    (
        format!("An agent asks for your approval: \"{}\"", approval.agent),
        format!(
            "The agent \"{}\" wants to do something that needs your yes:\n\n    {}\n\n\
             Read exactly what it would send, and decide until {until} UTC:\n\n    {link}\n\n\
             Opening the link decides nothing. Without a decision it is not done.\n",
            approval.agent, approval.title
        ),
    )
}

fn outcome(approval: &Approval, news: &News, link: &str) -> (String, String) {
    (
        format!("\"{}\": {}", approval.agent, news.state),
        format!(
            "What your agent \"{}\" wanted to do {}:\n\n    {}\n\n    {link}\n",
            approval.agent, news.tells, approval.title
        ),
    )
}
