//! Who looks at a page, or where they must go first.
//!
//! Law: a session that is for one step opens the pages of that step and no other.

use ::http::StatusCode;
use maud::html;

use super::factor::SECOND_FACTOR;
use super::form::{self, Form};
use super::layout::{Viewer, page};
use super::login;
use super::password::PASSWORD;
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

/// The same, or somebody who is only there to choose another password.
pub(super) fn changing_password(call: &Call) -> Result<Viewer<'_>, Box<Reply>> {
    let viewer = anybody(call)?;
    match viewer.person.session.scope {
        None | Some(Scope::PasswordChangeOnly) => Ok(viewer),
        Some(scope) => Err(Box::new(first(scope))),
    }
}

/// Somebody who is wholly logged in and sent a form of ours.
pub(super) fn sender<'a>(call: &'a Call, form: &Form) -> Result<Viewer<'a>, Box<Reply>> {
    believed(call, form, viewer(call)?)
}

/// A viewer, if it is a form of theirs.
pub(super) fn believed<'a>(call: &Call, form: &Form, viewer: Viewer<'a>) -> Result<Viewer<'a>, Box<Reply>> {
    if form::is_ours(call, viewer.person.session.sid, form) {
        Ok(viewer)
    } else {
        Err(Box::new(form::not_ours(call)))
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
            "Your password was chosen by somebody else. Nobody but you should know it.",
        ),
        Scope::SecondFactorSetupOnly => {
            ("Set up a second factor first", "Your account may do nothing without one.")
        }
    };
    let content = html! {
        h1 { (title) }
        p { (text) }
        @match scope {
            Scope::SecondFactorSetupOnly => { p { a href=(SECOND_FACTOR) { "Set it up" } } },
            Scope::PasswordChangeOnly => { p { a href=(PASSWORD) { "Choose it" } } },
        }
    };
    page(StatusCode::FORBIDDEN, title, None, &content)
}
