//! Registering on a page.
//!
//! Law: only where registration is open, and by the same function as `register/`: what the page says is the
//! same whether or not the address was free, so nobody is logged in by it.

use ::http::StatusCode;
use maud::{Markup, html};

use super::form::{self, Form};
use super::layout::{page, switched_off};
use super::password::{is_twice, new_fields};
use super::refusal;
use crate::app::App;
use crate::audit::Contact;
use crate::http::{ApiError, Bucket, Call, Nothing, Reply, Row, get, post, read_form};
use crate::login;
use crate::otp;

pub(super) const REGISTER: &str = "/portcullis/register/";

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(REGISTER, show).page().about("The form to register"),
        post(REGISTER, register)
            .page()
            .limit(Bucket::Register)
            .audited(&["account_created", "registration_repeated", "code_sent"])
            .about("Register an account"),
    ]
}

/// Whether anybody may.
pub(super) fn is_open(app: &App) -> bool {
    app.config().accounts.registration.open
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    if !is_open(&call.app) {
        return Ok(switched_off());
    }
    Ok(asking(&call, StatusCode::OK, None, &html! {}))
}

fn asking(call: &Call, status: StatusCode, form: Option<&Form>, said: &Markup) -> Reply {
    let text = |name: &str| form.map_or("", |form| form.text(name)).to_owned();
    let content = html! {
        div.narrow {
            h1 { "Register" }
            (said)
            form method="post" action=(REGISTER) {
                label for="first" { "First name (you need not say)" }
                input id="first" name="first_name" type="text" autocomplete="given-name" maxlength="100"
                    value=(text("first_name"));
                label for="last" { "Last name (you need not say)" }
                input id="last" name="last_name" type="text" autocomplete="family-name" maxlength="100"
                    value=(text("last_name"));
                label for="email" { "E-mail address" }
                input id="email" name="email" type="email" autocomplete="username" required maxlength="254"
                    value=(text("email"));
                (new_fields(call))
                button type="submit" { "Register" }
            }
            p { a href="/portcullis/login/" { "I have an account" } }
        }
    };
    page(status, "Register", None, &content)
}

async fn register(call: Call, form: Form) -> Result<Reply, ApiError> {
    if !form::is_not_foreign(&call) {
        return Ok(form::not_ours(&call));
    }
    if !is_open(&call.app) {
        return Ok(switched_off());
    }
    if !is_twice(&form) {
        let said = html! { p.problem role="alert" { "You typed two different passwords." } };
        return Ok(asking(&call, StatusCode::BAD_REQUEST, Some(&form), &said));
    }
    let mut given = form.given(&["first_name", "last_name", "email", "new_password"]);
    if let Some(password) = given.remove("new_password") {
        given.insert("password".to_owned(), password);
    }
    let made = match read_form(given) {
        Ok(wish) => login::register_newcomer(&call, wish).await,
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => Ok(done(&call)),
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            Ok(asking(&call, status, Some(&form), &said.shown()))
        }
    }
}

/// The same whoever asked.
fn done(call: &Call) -> Reply {
    let content = html! {
        div.narrow {
            h1 { "Thank you" }
            @if otp::has_way(&call.app, Contact::Email) {
                p { "A mail is on its way to you. If the address was new here, you have an account now: log in, and type the code \
                     of the mail on the page of your profile." }
            } @else {
                p { "If the address was new here, you have an account now." }
            }
            p { a.button href="/portcullis/login/?next=%2Fportcullis%2Faccount%2Fprofile%2F" { "Log in" } }
        }
    };
    page(StatusCode::OK, "Thank you", None, &content)
}
