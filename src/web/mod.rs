//! Pages for people: logging in, and deciding about what agents want to do.
//!
//! Law: no rules here, only calls. Looking at a page changes nothing; what does is a form that our
//! own page showed to the same session. Nothing that came from outside is written but as text, and
//! no script runs: the content policy allows none.

mod approval;
mod exact;
mod form;
mod layout;
mod link;
mod login;
mod social;

use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Nothing, Reply, Row, get, post};
use crate::login::LOGIN_EVENTS;

pub use layout::trouble;

/// Where logging in leads to.
const HOME: &str = "/portcullis/approvals/";

/// The pages.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        get("/portcullis/", home).page().about("Where people begin"),
        get("/portcullis/style.css", style).page().about("How pages look"),
        get("/portcullis/login/", login::show).page().about("The form to log in"),
        post("/portcullis/login/", login::enter)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["password_rehashed"])
            .about("Log in"),
        get("/magic-link/verify/", link::look)
            .open()
            .by_link()
            .limit(Bucket::LinkVerify)
            .codes(&[
                Code::TokenRequired,
                Code::MagicLinkInvalid,
                Code::SecondFactorRequired,
                Code::AccountLocked,
                Code::SessionLimitExceeded,
                Code::DeviceLimitExceeded,
                Code::CsrfFailed,
            ])
            .about("Log in with the link for the application whose keys come with it; a page with a button without"),
        post(link::ENTER, link::enter)
            .page()
            .limit(Bucket::LinkVerify)
            .audited(LOGIN_EVENTS)
            .about("Log in by the button of a link"),
        get("/portcullis/social/{provider}/", social::begin).page().about("Go to a provider to log in"),
        get("/portcullis/social/{provider}/callback/", social::come_back)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .about("Come back from a provider"),
        post("/portcullis/social/finish/", social::finish)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .about("The code of a second factor, after coming back"),
        post("/portcullis/logout/", login::leave).page().audited(&["logout"]).about("Log out"),
        get(HOME, approval::list).page().about("What agents want to do"),
        get("/portcullis/approvals/{id}/", approval::show)
            .page()
            .about("One thing that an agent wants to do"),
        post("/portcullis/approvals/{id}/approve/", approval::approve)
            .page()
            .audited(&["approval_voted", "approval_approved", "approval_voided"])
            .about("Approve it"),
        post("/portcullis/approvals/{id}/deny/", approval::deny)
            .page()
            .audited(&["approval_denied"])
            .about("Deny it"),
        post("/portcullis/approvals/{id}/stop/", approval::stop)
            .page()
            .audited(&["agent_token_suspended", "approval_voided"])
            .about("Stop the agent"),
    ]
}

async fn home(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(layout::lead_to(HOME))
}

async fn style(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(layout::style())
}
