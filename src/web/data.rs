//! What is kept of somebody: to have it as a file, and to have it gone with the account.
//!
//! Law: what has to be proved is what `export-user-data/`, `request-account-deletion/` and
//! `cancel-account-deletion/` ask for, by the same functions: an open session alone does none of it.

use std::time::Duration;

use ::http::StatusCode;
use maud::{Markup, html};

use super::account::{self as page_of, Said};
use super::form::Form;
use super::layout::{Viewer, download, lead_to, moment, page};
use super::{refusal, visit};
use crate::account::Account;
use crate::audit::Contact;
use crate::http::{ApiError, Bucket, Call, Nothing, Reply, Row, get, post, read_form};
use crate::login::{self, First, Lately, PROOF_EVENTS};
use crate::privacy::{self, Deletion, REASON_MAX, Status};

pub(super) const DATA: &str = "/portcullis/account/data/";

const SAID: [(&str, &str); 3] = [
    ("asked", "A link is on its way to you. Your account is deleted only if you follow it."),
    ("confirmed", "Your account will be deleted. Until then you can call it off here."),
    ("kept", "Your account stays."),
];

/// What forms hold that proves who somebody is.
const PROOF: [&str; 2] = ["password", "otp_code"];

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(DATA, show).page().about("What is kept of one, and whether one's account is to be deleted"),
        post("/portcullis/account/data/export/", export)
            .page()
            .limit(Bucket::Password)
            .audited(PROOF_EVENTS)
            .audited(&["data_exported"])
            .about("Everything that is kept of one, as a file"),
        post("/portcullis/account/data/delete/", ask)
            .page()
            .limit(Bucket::Password)
            .audited(PROOF_EVENTS)
            .audited(&[
                "deletion_request_created",
                "deletion_request_confirmed",
                "deletion_request_cancelled",
            ])
            .about("Ask for one's account to be deleted"),
        post("/portcullis/account/data/keep/", keep)
            .page()
            .limit(Bucket::Password)
            .audited(PROOF_EVENTS)
            .audited(&["deletion_request_cancelled"])
            .about("Keep it after all"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = SAID.iter().find(|(word, _)| *word == call.head.query).map(|(_, text)| Said::Done(text));
    whole(&call, &viewer, StatusCode::OK, said, "").await
}

async fn whole(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
    reason: &str,
) -> Result<Reply, ApiError> {
    let own = page_of::own(call, viewer).await?;
    let all = privacy::of_account(&call.app.db, own.id).await?;
    let open = all.iter().find(|deletion| deletion.status.is_open());
    let content = html! {
        p.back { a href=(super::ACCOUNT) { "← Your account" } }
        @if let Some(said) = said { (said.shown()) }
        h1 { "Your data" }
        section aria-labelledby="export" {
            h2 id="export" { "Have it" }
            p { "Everything that this gateway keeps of you, as one file in JSON." }
            form method="post" action=(format!("{DATA}export/")) {
                (viewer.proof())
                (proof(call, viewer, &own, Lately::OrAMomentAgo, "export")?)
                button type="submit" { "Download" }
            }
        }
        section aria-labelledby="delete" {
            h2 id="delete" { "Delete your account" }
            @match open {
                Some(deletion) => (state(call, viewer, &own, deletion)?),
                None => (asking(call, viewer, &own, reason)?),
            }
        }
    };
    Ok(page(status, "Your data", Some(viewer), &content))
}

/// The fields that prove who somebody is, as far as they are asked for now.
fn proof(
    call: &Call,
    viewer: &Viewer<'_>,
    own: &Account,
    lately: Lately,
    id: &str,
) -> Result<Markup, ApiError> {
    let missing = login::asked_for(call, own, lately)?;
    Ok(html! {
        @match missing.first {
            First::Password => {
                (viewer.owner())
                label for=(format!("{id}-password")) { "Your password" }
                input id=(format!("{id}-password")) name="password" type="password" autocomplete="current-password" required;
            },
            First::Nothing => {},
            First::LogIn => { p.meta { "Your login is too old for this: log out and log in again first." } },
        }
        @if missing.code {
            label for=(format!("{id}-code")) { "Code from your authenticator app, or a backup code" }
            input id=(format!("{id}-code")) name="otp_code" type="text" autocomplete="one-time-code" required maxlength="64"
                autocapitalize="off" spellcheck="false";
        }
    })
}

fn asking(call: &Call, viewer: &Viewer<'_>, own: &Account, reason: &str) -> Result<Markup, ApiError> {
    let grace = span(call.app.config().accounts.deletion.grace);
    let first = match privacy::reached_by(&call.app, own) {
        Some(Contact::Email) => "You get a mail first, whose link confirms it; then",
        Some(Contact::Phone) => "You get a text message first, whose link confirms it; then",
        None => "It counts at once, because no confirmed address or number of yours can be asked; then",
    };
    Ok(html! {
        p {
            "Everything that is kept of you goes, and nobody can bring it back. " (first) " you have " (grace)
            " in which you can log in and call it off."
        }
        details open[!reason.is_empty()] {
            summary.grave { "I want to delete my account" }
            form method="post" action=(format!("{DATA}delete/")) {
                (viewer.proof())
                label for="reason" { "Why? (You need not say.)" }
                textarea id="reason" name="reason" rows="2" maxlength=(REASON_MAX) { (reason) }
                (proof(call, viewer, own, Lately::Now, "delete")?)
                button.no type="submit" { "Delete my account" }
            }
        }
    })
}

/// `14 days`, or `12 hours` of less than two days.
fn span(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (count, word) = match minutes {
        0..120 => (minutes, "minute"),
        120..2880 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn state(call: &Call, viewer: &Viewer<'_>, own: &Account, deletion: &Deletion) -> Result<Markup, ApiError> {
    Ok(html! {
        @match (deletion.status, deletion.due_at) {
            (Status::Confirmed, Some(due_at)) => p {
                span.badge.denied { "to be deleted" } " Your account goes after " strong { (moment(due_at)) } "."
            },
            _ => p {
                span.badge.pending { "not confirmed" } " You asked for it " (moment(deletion.requested_at))
                ". It goes no further until you follow the link that you were sent."
            },
        }
        @if deletion.held_back_at.is_some() {
            p {
                "It waits, because nobody could take your place: we told you where. Once somebody else can, such as another "
                "owner of an organization, it is done within a day."
            }
        }
        form method="post" action=(format!("{DATA}keep/")) {
            (viewer.proof())
            (proof(call, viewer, own, Lately::OrAMomentAgo, "keep")?)
            button type="submit" { "Keep my account" }
        }
    })
}

async fn export(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let all = match read_form(form.given(&PROOF)) {
        Ok(proof) => privacy::hand_over(&call, proof).await,
        Err(error) => Err(error),
    };
    match all {
        Ok(all) => Ok(download("portcullis-export.json", &all)),
        Err(error) => refused(&call, &viewer, error, "").await,
    }
}

async fn refused(call: &Call, viewer: &Viewer<'_>, error: ApiError, reason: &str) -> Result<Reply, ApiError> {
    let (status, said) = refusal::told(error)?;
    whole(call, viewer, status, Some(said), reason).await
}

async fn ask(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let asked = match read_form(form.given(&["password", "otp_code", "reason"])) {
        Ok(wish) => privacy::ask(&call, wish).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(deletion) if deletion.status == Status::ConfirmationSent => {
            Ok(lead_to("/portcullis/account/data/?asked"))
        }
        Ok(_) => Ok(lead_to("/portcullis/account/data/?confirmed")),
        Err(error) => refused(&call, &viewer, error, form.text("reason")).await,
    }
}

async fn keep(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let kept = match read_form(form.given(&PROOF)) {
        Ok(proof) => privacy::keep(&call, proof).await,
        Err(error) => Err(error),
    };
    match kept {
        Ok(_) => Ok(lead_to("/portcullis/account/data/?kept")),
        Err(error) => refused(&call, &viewer, error, "").await,
    }
}
