//! One's profile: what somebody says of themselves, and where they are reached.
//!
//! Law: what is taken is what `PATCH me/` and `otp/` take, by the same functions. A new address or number
//! asks for the password and is only wished for until the code that was sent there comes back.

use ::http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;

use super::account::{self as page_of, Said};
use super::exact::text;
use super::form::Form;
use super::layout::{Viewer, lead_to, page};
use super::password::PASSWORD;
use super::{refusal, visit};
use crate::account::{Account, Username};
use crate::audit::Contact;
use crate::base::json::strict;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Nothing, Reply, Row, get, post, read_form};
use crate::otp::{self, Digits};
use crate::profile;

pub(super) const PROFILE: &str = "/portcullis/account/profile/";

const SAID: [(&str, &str); 5] = [
    ("saved", "Your profile was saved."),
    ("wished", "A code is on its way. The new one counts once you have typed it here."),
    ("kept", "It stays as it was."),
    ("sent", "Another code is on its way."),
    ("confirmed", "That is confirmed."),
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(PROFILE, show).page().about("One's profile"),
        post("/portcullis/account/profile/save/", save)
            .page()
            .limit(Bucket::Password)
            .audited(&["profile_changed"])
            .about("Change it"),
        post("/portcullis/account/contact/{contact}/change/", change_contact)
            .page()
            .limit(Bucket::Password)
            .audited(&["contact_pending", "profile_changed", "code_sent", "login_failed", "account_locked"])
            .about("Wish for another address or number"),
        post("/portcullis/account/contact/{contact}/keep/", keep_contact)
            .page()
            .limit(Bucket::Password)
            .audited(&["contact_pending", "profile_changed"])
            .about("Wish for it no more"),
        post("/portcullis/account/contact/{contact}/send/", send_code)
            .page()
            .limit(Bucket::OtpRequest)
            .audited(&["code_sent"])
            .about("Send a code that confirms it"),
        post("/portcullis/account/contact/{contact}/confirm/", confirm)
            .page()
            .limit(Bucket::OtpVerify)
            .audited(&[
                "email_verified",
                "phone_verified",
                "contact_changed",
                "session_ended",
                "code_refused",
            ])
            .about("Confirm it with that code"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = SAID.iter().find(|(word, _)| *word == call.head.query).map(|(_, text)| Said::Done(text));
    whole(&call, &viewer, StatusCode::OK, said, None).await
}

async fn whole(
    call: &Call,
    viewer: &Viewer<'_>,
    status: StatusCode,
    said: Option<Said>,
    typed: Option<&Form>,
) -> Result<Reply, ApiError> {
    let own = page_of::own(call, viewer).await?;
    let content = html! {
        p.back { a href=(super::ACCOUNT) { "← Your account" } }
        @if let Some(said) = said { (said.shown()) }
        h1 { "Profile" }
        (about(viewer, &own, typed))
        (contact(call, viewer, &own, Contact::Email))
        (contact(call, viewer, &own, Contact::Phone))
        (custom(viewer, &own, typed))
    };
    Ok(page(status, "Profile", Some(viewer), &content))
}

/// A field of text: its name, label, purpose for browsers, longest text and present value.
type Line<'a> = (&'static str, &'static str, &'static str, usize, &'a str);

fn lines(own: &Account) -> [Line<'_>; 5] {
    let username = own.username.as_ref().map_or("", Username::as_str);
    [
        ("first_name", "First name", "given-name", 100, &own.first_name),
        ("last_name", "Last name", "family-name", 100, &own.last_name),
        ("username", "User name", "nickname", 191, username),
        ("language", "Language, such as en or pt-BR", "language", 10, &own.language),
        ("timezone", "Time zone, such as Europe/Berlin", "off", 63, &own.timezone),
    ]
}

fn about(viewer: &Viewer<'_>, own: &Account, typed: Option<&Form>) -> Markup {
    let typed = typed.filter(|form| form.has("bio"));
    let value = |name: &str, present: &str| typed.map_or(present, |form| form.text(name)).to_owned();
    html! {
        section aria-labelledby="about" {
            h2 id="about" { "About you" }
            form method="post" action="/portcullis/account/profile/save/" {
                (viewer.proof())
                @for (name, label, purpose, most, present) in lines(own) {
                    label for=(name) { (label) }
                    input id=(name) name=(name) type="text" maxlength=(most) autocomplete=(purpose)
                        autocapitalize=[(purpose == "nickname" || purpose == "language" || purpose == "off").then_some("off")]
                        value=(value(name, present));
                }
                label for="bio" { "A few words about you" }
                textarea id="bio" name="bio" rows="3" maxlength="500" { (value("bio", &own.bio)) }
                button type="submit" { "Save" }
            }
        }
    }
}

fn custom(viewer: &Viewer<'_>, own: &Account, typed: Option<&Form>) -> Markup {
    let present = match own.custom_fields() {
        Value::Null => String::new(),
        kept => serde_json::to_string_pretty(&kept).unwrap_or_default(),
    };
    let typed =
        typed.filter(|form| form.has("custom_fields")).map(|form| form.text("custom_fields").to_owned());
    let is_open = typed.is_some();
    html! {
        section aria-labelledby="custom" {
            h2 id="custom" { "What applications keep here" }
            p.meta { "Settings that applications store with your account, as JSON. Change them only if you know what they are for." }
            details open[is_open] {
                summary { "Look at it" }
                form method="post" action="/portcullis/account/profile/save/" {
                    (viewer.proof())
                    label for="custom_fields" { "JSON" }
                    textarea.code id="custom_fields" name="custom_fields" rows="8" spellcheck="false" autocapitalize="off" {
                        // The first line break of a text area is not its text.
                        "\n" (typed.unwrap_or(present))
                    }
                    button type="submit" { "Save the JSON" }
                }
            }
        }
    }
}

async fn save(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let own = page_of::own(&call, &viewer).await?;
    let saved = match wish(&own, &form) {
        Ok(wish) => profile::edit(&call, wish).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(()) => Ok(lead_to("/portcullis/account/profile/?saved")),
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            whole(&call, &viewer, status, Some(said), Some(&form)).await
        }
    }
}

/// What the form changes: what stands in it as it was is not written again.
fn wish(own: &Account, form: &Form) -> Result<profile::ProfileChange, ApiError> {
    let mut given = serde_json::Map::new();
    for (name, _, _, _, present) in lines(own).into_iter().chain([("bio", "", "", 0, own.bio.as_str())]) {
        // Browsers send line breaks of a text area as two characters.
        let typed = form.text(name).trim().replace("\r\n", "\n");
        if !form.has(name) || typed == present.trim() {
            continue;
        }
        let is_removed = name == "username" && typed.is_empty();
        given.insert(name.to_owned(), if is_removed { Value::Null } else { Value::from(typed) });
    }
    if form.has("custom_fields") {
        given.insert("custom_fields".to_owned(), json_in(form.text("custom_fields"))?);
    }
    read_form(given)
}

fn json_in(typed: &str) -> Result<Value, ApiError> {
    if typed.trim().is_empty() {
        return Ok(Value::Null);
    }
    strict(typed.as_bytes()).map_err(|why| ApiError::invalid("custom_fields", &[format!("Not JSON: {why}")]))
}

/// How a channel is called in paths.
const fn word(contact: Contact) -> &'static str {
    match contact {
        Contact::Email => "email",
        Contact::Phone => "phone",
    }
}

/// The channel that the path names.
fn channel(call: &Call) -> Result<Contact, ApiError> {
    match call.param("contact")? {
        "email" => Ok(Contact::Email),
        "phone" => Ok(Contact::Phone),
        _ => Err(ApiError::new(ErrorCode::NotFound)),
    }
}

fn contact(call: &Call, viewer: &Viewer<'_>, own: &Account, contact: Contact) -> Markup {
    let word = word(contact);
    let path = format!("/portcullis/account/contact/{word}/");
    let shown = |text: &dyn ToString| text.to_string();
    let (title, present, pending, is_confirmed) = match contact {
        Contact::Email => {
            let (present, pending) = (own.email.as_ref(), own.pending_email.as_ref());
            let texts = (present.map(|it| shown(it)), pending.map(|it| shown(it)));
            ("E-mail address", texts.0, texts.1, own.is_email_verified)
        }
        Contact::Phone => {
            let (present, pending) = (own.phone.as_ref(), own.pending_phone.as_ref());
            let texts = (present.map(|it| shown(it)), pending.map(|it| shown(it)));
            ("Phone number", texts.0, texts.1, own.is_phone_verified)
        }
    };
    let waits = pending.is_some() || (present.is_some() && !is_confirmed);
    html! {
        section aria-labelledby=(word) {
            h2 id=(word) { (title) }
            @match &present {
                Some(present) => p { (present) " " (page_of::confirmed(is_confirmed)) },
                None => p.empty { "None." },
            }
            @if let Some(pending) = &pending { p { "You wished for " strong { (pending) } " " (page_of::confirmed(false)) } }
            @if waits && otp::has_way(&call.app, contact) { (confirming(viewer, word, &path)) }
            @if pending.is_some() && present.is_some() {
                form method="post" action=(format!("{path}keep/")) {
                    (viewer.proof())
                    button.quiet type="submit" { "Keep " (present.unwrap_or_default()) }
                }
            }
            (changing(viewer, own, contact, &path))
        }
    }
}

fn confirming(viewer: &Viewer<'_>, word: &str, path: &str) -> Markup {
    let id = format!("{word}-code");
    html! {
        form method="post" action=(format!("{path}confirm/")) {
            (viewer.proof())
            label for=(id) { "Code that was sent there" }
            input id=(id) name="code" type="text" inputmode="numeric" autocomplete="one-time-code" required maxlength="16";
            button type="submit" { "Confirm" }
        }
        form method="post" action=(format!("{path}send/")) {
            (viewer.proof())
            button.quiet type="submit" { "Send me another code" }
        }
    }
}

fn changing(viewer: &Viewer<'_>, own: &Account, contact: Contact, path: &str) -> Markup {
    let word = word(contact);
    html! {
        @if own.password_hash.is_none() {
            p.meta { "Another one asks for your password, and you have none. " a href=(PASSWORD) { "Set one first" } "." }
        } @else {
            details {
                summary { @match contact { Contact::Email => "Another e-mail address", Contact::Phone => "Another phone number" } }
                form method="post" action=(format!("{path}change/")) {
                    (viewer.proof())
                    (viewer.owner())
                    @match contact {
                        Contact::Email => {
                            label for="new-email" { "New e-mail address" }
                            input id="new-email" name="email" type="email" autocomplete="email" required maxlength="254";
                        },
                        Contact::Phone => {
                            label for="new-country" { "Country code, such as 49" }
                            input id="new-country" name="phone_country_code" type="text" inputmode="tel"
                                autocomplete="tel-country-code" required maxlength="5";
                            label for="new-number" { "New phone number" }
                            input id="new-number" name="phone_number" type="tel" autocomplete="tel-national" required
                                maxlength="20";
                        },
                    }
                    label for=(format!("{word}-password")) { "Your password" }
                    input id=(format!("{word}-password")) name="current_password" type="password"
                        autocomplete="current-password" required;
                    button type="submit" { "Change it" }
                }
            }
        }
    }
}

/// What came of it: a page that says so, or the profile with what was wrong.
async fn answered(
    call: &Call,
    viewer: &Viewer<'_>,
    outcome: Result<(), ApiError>,
    said: &str,
) -> Result<Reply, ApiError> {
    match outcome {
        Ok(()) => Ok(lead_to(&format!("{PROFILE}?{said}"))),
        Err(error) => {
            let (status, said) = refusal::told(error)?;
            whole(call, viewer, status, Some(said), None).await
        }
    }
}

async fn change_contact(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let names: &[&str] = match channel(&call)? {
        Contact::Email => &["email", "current_password"],
        Contact::Phone => &["phone_country_code", "phone_number", "current_password"],
    };
    let outcome = match read_form(form.given(names)) {
        Ok(wish) => profile::edit(&call, wish).await,
        Err(error) => Err(error),
    };
    answered(&call, &viewer, outcome, "wished").await
}

async fn keep_contact(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let outcome = profile::keep(&call, channel(&call)?).await;
    answered(&call, &viewer, outcome, "kept").await
}

async fn send_code(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let outcome = otp::send_contact_code(&call, channel(&call)?).await.map(drop);
    answered(&call, &viewer, outcome, "sent").await
}

async fn confirm(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let outcome = match Digits::parse(form.text("code")) {
        Ok(digits) => otp::confirm_contact(&call, channel(&call)?, &digits).await.map(drop),
        Err(why) => Err(ApiError::invalid("code", &[why.to_string()])),
    };
    answered(&call, &viewer, outcome, "confirmed").await
}

/// Names for the page of the account.
pub(super) fn name_of(own: &Account) -> Option<Markup> {
    let name = format!("{} {}", own.first_name, own.last_name);
    let name = name.trim();
    (!name.is_empty()).then(|| text(name))
}
