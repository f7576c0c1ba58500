//! What is kept of somebody: to have it as a file, and to have it gone with the account.
//!
//! Law: what has to be proved is what `export-user-data/`, `request-account-deletion/` and
//! `cancel-account-deletion/` ask for, by the same functions: an open session alone does none of it.

use ::http::StatusCode;
use maud::{Markup, html};

use super::account::{self as page_of, Said};
use super::form::Form;
use super::layout::{Viewer, download, lead_to, moment, page};
use super::{refusal, visit};
use crate::account::Account;
use crate::http::{ApiError, Bucket, Call, Nothing, Reply, Row, get, post, read_form};
use crate::login::{self, First, Lately, PROOF_EVENTS};
use crate::privacy::{self, Deletion, REASON_MAX, Status};

pub(super) const DATA: &str = "/portcullis/account/data/";

const SAID: [(&str, &str); 3] = [
    ("asked", "A mail is on its way. Your account is deleted only if you follow its link."),
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
    let days = call.app.config().accounts.deletion.grace.as_secs() / 86_400;
    Ok(html! {
        p {
            "Everything that is kept of you goes, and nobody can bring it back. You get a mail first, whose link confirms it; then "
            (days) " days are left in which you can log in and call it off."
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

fn state(call: &Call, viewer: &Viewer<'_>, own: &Account, deletion: &Deletion) -> Result<Markup, ApiError> {
    Ok(html! {
        @match (deletion.status, deletion.due_at) {
            (Status::Confirmed, Some(due_at)) => p {
                span.badge.denied { "to be deleted" } " Your account goes after " strong { (moment(due_at)) } "."
            },
            _ => p {
                span.badge.pending { "not confirmed" } " You asked for it " (moment(deletion.requested_at))
                ". It goes no further until you follow the link in the mail."
            },
        }
        @if deletion.held_back_at.is_some() {
            p { "It waits: you are the only owner of an organization that others belong to. Make somebody else owner." }
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
