//! Who looks at a page, or where they must go first.
//!
//! Law: a session that is for one step opens the pages of that step and no other.

use ::http::StatusCode;
use maud::html;

use super::factor::SECOND_FACTOR;
use super::form;
use super::layout::{Viewer, page};
use super::login;
use crate::http::{Call, Reply};
use crate::principal::Scope;

/// Somebody who is wholly logged in.
pub(super) fn viewer(call: &Call) -> Result<Viewer<'_>, Box<Reply>> {
    let viewer = anybody(call)?;
    let Some(scope) = viewer.person.session.scope else { return Ok(viewer) };
    Err(Box::new(first(scope)))
}

/// The same, or somebody who is only there to get a second factor.
pub(super) fn setting_up(call: &Call) -> Result<Viewer<'_>, Box<Reply>> {
    let viewer = anybody(call)?;
    match viewer.person.session.scope {
        None | Some(Scope::SecondFactorSetupOnly) => Ok(viewer),
        Some(scope) => Err(Box::new(first(scope))),
    }
}

fn anybody(call: &Call) -> Result<Viewer<'_>, Box<Reply>> {
    let Some(person) = &call.principal else { return Err(Box::new(login::first(&call.head.path))) };
    Ok(Viewer { person, csrf: form::secret_of(&call.app, person.session.sid) })
}

fn first(scope: Scope) -> Reply {
    let (title, text) = match scope {
        Scope::PasswordChangeOnly => (
            "Choose a new password first",
            "Your password was chosen by somebody else. Change it in your application, then log in here again.",
        ),
        Scope::SecondFactorSetupOnly => {
            ("Set up a second factor first", "Your account may do nothing without one.")
        }
    };
    let content = html! {
        h1 { (title) }
        p { (text) }
        @if scope == Scope::SecondFactorSetupOnly { p { a href=(SECOND_FACTOR) { "Set it up" } } }
    };
    page(StatusCode::FORBIDDEN, title, None, &content)
}
