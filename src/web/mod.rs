//! Pages for people: logging in, one's own account, deciding about what agents want to do, and administration.
//!
//! Law: no rules here, only calls. Looking at a page changes nothing; what does is a form that our
//! own page showed to the same session. Nothing that came from outside is written but as text, and
//! no script runs but the one that asks for passkeys, on the pages that do.

mod account;
mod admin;
mod agent;
mod api_key;
mod approval;
mod code;
mod connection;
mod data;
mod deletion;
mod exact;
mod factor;
mod form;
mod layout;
mod link;
mod login;
mod passkey;
mod password;
mod profile;
mod refusal;
mod register;
mod reset;
mod session;
mod social;
mod step;
mod visit;

use crate::http::{ApiError, Bucket, Call, ErrorCode as Code, Nothing, Reply, Row, get, post};
use crate::login::{LOGIN_EVENTS, NEWCOMER_EVENTS};

pub use layout::trouble;
pub use login::first as log_in_first;

/// Where logging in leads to.
const HOME: &str = "/portcullis/approvals/";
/// One's own account.
const ACCOUNT: &str = "/portcullis/account/";

/// The pages.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = doors();
    rows.extend(approvals());
    rows.extend(accounts());
    rows.extend(factors());
    rows.extend(profile::rows());
    rows.extend(password::rows());
    rows.extend(api_key::rows());
    rows.extend(data::rows());
    rows.extend(connection::rows());
    rows.extend(code::rows());
    rows.extend(register::rows());
    rows.extend(reset::rows());
    rows.extend(admin::rows());
    rows
}

fn doors() -> Vec<Row> {
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
        get("/portcullis/passkey.js", script).page().about("How pages ask for a passkey"),
        post("/portcullis/login/passkey/", login::enter_with_passkey)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["passkey_counter_regressed"])
            .about("Log in with a passkey"),
        post("/portcullis/login/ldap/", login::enter_with_directory)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .audited(NEWCOMER_EVENTS)
            .about("Log in with a password of the directory"),
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
        get(link::REQUEST, link::ask).page().about("The form of who wants a link to log in with"),
        post(link::REQUEST, link::send)
            .page()
            .limit(Bucket::LinkRequest)
            .audited(&["login_link_requested", "code_sent"])
            .about("Send a link to log in with"),
        get("/portcullis/social/{provider}/", social::begin).page().about("Go to a provider to log in"),
        get("/portcullis/social/{provider}/callback/", social::come_back)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .audited(NEWCOMER_EVENTS)
            .about("Come back from a provider"),
        post("/portcullis/social/finish/", social::finish)
            .page()
            .limit(Bucket::Login)
            .audited(LOGIN_EVENTS)
            .audited(&["account_created", "social_connected"])
            .audited(NEWCOMER_EVENTS)
            .about("The code of a second factor, after coming back"),
        get(deletion::PAGE, deletion::look).page().about("Confirm that an account is to be deleted"),
        post(deletion::PAGE, deletion::confirm)
            .page()
            .limit(Bucket::LinkVerify)
            .audited(&["deletion_request_confirmed"])
            .about("Confirm it by the button of a link"),
        post("/portcullis/logout/", login::leave).page().audited(&["logout"]).about("Log out"),
    ]
}

fn approvals() -> Vec<Row> {
    vec![
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

/// What proving once more who one is may leave.
const STEP_EVENTS: &[&str] = &["2fa_verified", "2fa_backup_used", "login_failed", "account_locked"];

fn accounts() -> Vec<Row> {
    vec![
        get(ACCOUNT, account::show).page().about("One's own account"),
        post("/portcullis/account/sessions/end/", session::end_others)
            .page()
            .audited(&["session_ended"])
            .about("End every other session"),
        post("/portcullis/account/sessions/{id}/end/", session::end)
            .page()
            .audited(&["session_ended"])
            .about("End a session"),
        post("/portcullis/account/agents/{id}/stop/", agent::stop)
            .page()
            .audited(&["agent_token_suspended", "approval_voided"])
            .about("Stop an agent"),
        post("/portcullis/account/agents/{id}/resume/", agent::resume)
            .page()
            .audited(&["agent_token_resumed"])
            .about("Let an agent go on"),
        post("/portcullis/account/passkeys/begin/", passkey::begin)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(STEP_EVENTS)
            .about("Ask for a new passkey"),
        post("/portcullis/account/passkeys/add/", passkey::add)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(&["passkey_added", "session_ended"])
            .about("Add a passkey"),
        post("/portcullis/account/passkeys/{id}/rename/", passkey::rename)
            .page()
            .audited(&["passkey_renamed"])
            .about("Call a passkey something else"),
        post("/portcullis/account/passkeys/{id}/remove/", passkey::remove)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(STEP_EVENTS)
            .audited(&["passkey_removed"])
            .about("Remove a passkey"),
    ]
}

fn factors() -> Vec<Row> {
    vec![
        get(factor::SECOND_FACTOR, factor::show).page().about("One's second factor"),
        post("/portcullis/account/second-factor/begin/", factor::begin)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(&["2fa_setup", "login_failed", "account_locked"])
            .about("Begin to set up a second factor"),
        post("/portcullis/account/second-factor/confirm/", factor::confirm)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(LOGIN_EVENTS)
            .audited(&["2fa_enabled"])
            .about("Turn the second factor on"),
        post("/portcullis/account/second-factor/backup-codes/", factor::backup_codes)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(&["2fa_backup_codes_replaced", "login_failed", "account_locked"])
            .about("New backup codes"),
        post("/portcullis/account/second-factor/off/", factor::turn_off)
            .page()
            .limit(Bucket::SecondFactor)
            .audited(STEP_EVENTS)
            .audited(&["2fa_disabled", "session_ended"])
            .about("Turn the second factor off"),
    ]
}

async fn script(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(layout::passkey_script())
}

async fn home(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(layout::lead_to(HOME))
}

async fn style(_: Call, _: Nothing) -> Result<Reply, ApiError> {
    Ok(layout::style())
}
