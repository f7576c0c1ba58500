//! One's API keys: which there are, one more, one less.
//!
//! Law: a key is shown once, in the answer that made it. What may be put into one, and what has to be proved
//! first, is what `api-keys/` says, by the same functions.

use ::http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;

use super::account::{self as page_of, Said};
use super::exact::text;
use super::form::Form;
use super::layout::{Viewer, lead_to, moment, page};
use super::{refusal, step, visit};
use crate::account::Account;
use crate::apikey::{self, ApiKey};
use crate::base::Secret;
use crate::http::{ApiError, Bucket, Call, ErrorCode, Nothing, Reply, Row, get, post, read_form};

pub(super) const KEYS: &str = "/portcullis/account/keys/";

/// How the boxes of permissions are called.
const BOX: &str = "may:";
/// Lives to choose from, in days; the second is what is chosen for whoever does not.
const LIVES: [(u64, &str); 4] = [(7, "a week"), (90, "90 days"), (30, "30 days"), (365, "a year")];
const DAY: u64 = 24 * 60 * 60;

pub(super) fn rows() -> Vec<Row> {
    vec![
        get(KEYS, show).page().about("One's API keys"),
        post("/portcullis/account/keys/new/", create)
            .page()
            .limit(Bucket::Password)
            .audited(super::STEP_EVENTS)
            .audited(&["api_key_created"])
            .about("Make an API key; it is shown once"),
        post("/portcullis/account/keys/{id}/revoke/", revoke)
            .page()
            .audited(&["api_key_revoked"])
            .about("End an API key"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let said = match call.head.query.as_str() {
        "revoked" => Some(Said::Done("The key was revoked. Nothing is let through with it any more.")),
        "gone" => Some(Said::Done("That was over already.")),
        _ => None,
    };
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
    let now = call.app.now();
    let all = apikey::of_account(&call.app.db, own.id).await?;
    let (alive, over): (Vec<_>, Vec<_>) = all.iter().partition(|key| key.is_alive(now));
    let content = html! {
        p.back { a href=(super::ACCOUNT) { "← Your account" } }
        @if let Some(said) = said { (said.shown()) }
        h1 { "API keys" }
        p { "A key is for a program of yours. It calls what the gateway protects in your name, as far as you let it." }
        section aria-labelledby="keys" {
            h2 id="keys" { "Your keys" }
            @if alive.is_empty() { p.empty { "None." } }
            ul.rows { @for key in &alive { li { (line(key)) (ending(viewer, key)) } } }
            @if !over.is_empty() {
                details {
                    summary { "Keys that are over (" (over.len()) ")" }
                    ul.rows { @for key in &over { li { (line(key)) } } }
                }
            }
        }
        (making(call, viewer, &own, typed).await?)
    };
    Ok(page(status, "API keys", Some(viewer), &content))
}

fn line(key: &ApiKey) -> Markup {
    html! {
        div {
            strong { (text(&key.name)) } " " code { (key.hint) "…" }
            p.meta {
                @if key.scopes.is_empty() { "Opens only what asks for no permission" }
                @else { "May " @for (at, code) in key.scopes.iter().enumerate() { @if at > 0 { ", " } code { (code) } } }
            }
            p.meta {
                "Made " (moment(key.created_at))
                @match key.revoked_at {
                    Some(at) => { ", revoked " (moment(at)) },
                    None => { ", good until " (moment(key.expires_at)) },
                }
                @match key.last_used_at {
                    Some(at) => { ", last used " (moment(at)) },
                    None => { ", not used yet" },
                }
            }
        }
    }
}

fn ending(viewer: &Viewer<'_>, key: &ApiKey) -> Markup {
    html! {
        form method="post" action=(format!("{KEYS}{}/revoke/", key.id)) {
            (viewer.proof())
            button.no type="submit" aria-label=(format!("Revoke {}", key.name)) { "Revoke" }
        }
    }
}

async fn making(
    call: &Call,
    viewer: &Viewer<'_>,
    own: &Account,
    typed: Option<&Form>,
) -> Result<Markup, ApiError> {
    let codes = viewer.person.rights.codes();
    let name = typed.map_or("", |form| form.text("name"));
    let is_ticked = |code: &str| typed.is_some_and(|form| form.ticked(BOX).any(|own| own == code));
    let chosen = typed.and_then(|form| form.text("days").parse().ok()).unwrap_or(LIVES[1].0);
    let mut lives = LIVES;
    lives.sort_unstable();
    let asked = step::fields(call, viewer, own, "key").await?;
    Ok(html! {
        section aria-labelledby="new" {
            h2 id="new" { "A new key" }
            form method="post" action=(format!("{KEYS}new/")) {
                (viewer.proof())
                label for="name" { "What is it for?" }
                input id="name" name="name" type="text" required maxlength="100" autocomplete="off" value=(name)
                    placeholder="Nightly backup";
                label for="days" { "How long is it good for?" }
                select id="days" name="days" {
                    @for (days, word) in lives { option value=(days) selected[days == chosen] { (word) } }
                }
                fieldset {
                    legend { "What may it do?" }
                    @if codes.is_empty() { p.empty { "You hold no permissions that a key could have." } }
                    @else {
                        p.meta { "Of what you may do yourself. Tick as little as the program needs." }
                        div.ticks {
                            @for code in codes.iter().map(ToString::to_string) {
                                label.tick {
                                    input type="checkbox" name=(format!("{BOX}{code}")) value="on" checked[is_ticked(&code)];
                                    " " code { (code) }
                                }
                            }
                        }
                    }
                }
                (asked)
                button type="submit" { "Make the key" }
            }
        }
    })
}

fn wish(form: &Form) -> Result<apikey::NewBody, ApiError> {
    let mut given = form.given(&["name"]);
    let scopes: Vec<Value> = form.ticked(BOX).map(Value::from).collect();
    given.insert("scopes".to_owned(), Value::Array(scopes));
    if let Ok(days) = form.text("days").parse::<u64>() {
        given.insert("expires_in".to_owned(), Value::from(days.saturating_mul(DAY)));
    }
    read_form(given)
}

async fn create(call: Call, form: Form) -> Result<Reply, ApiError> {
    let viewer = match visit::sender(&call, &form) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let wish = match wish(&form) {
        Ok(wish) => wish,
        Err(error) => return refused(&call, &viewer, error, &form).await,
    };
    let own = page_of::own(&call, &viewer).await?;
    let moved = match step::take(&call, &own, &form).await {
        Ok(moved) => moved,
        Err(error) => return refused(&call, &viewer, error, &form).await,
    };
    let viewer = moved.as_ref().map_or(viewer.clone(), |to| viewer.within(&call.app, to.id));
    let sid = moved.as_ref().map_or(call.person()?.session.sid, |to| to.id);
    let reply = match apikey::make(&call, wish, sid).await {
        Ok((key, text)) => Ok(made(&viewer, &key, &text)),
        Err(error) => refused(&call, &viewer, error, &form).await,
    };
    step::moved(&call, reply, moved.as_ref())
}

async fn refused(call: &Call, viewer: &Viewer<'_>, error: ApiError, form: &Form) -> Result<Reply, ApiError> {
    let (status, said) = refusal::told(error)?;
    whole(call, viewer, status, Some(said), Some(form)).await
}

fn made(viewer: &Viewer<'_>, key: &ApiKey, secret: &Secret<String>) -> Reply {
    let content = html! {
        p.back { a href=(KEYS) { "← API keys" } }
        h1 { "Your new key" }
        section {
            p { "Copy it now: it is not shown again." }
            p.exact { (secret.expose()) }
            p.meta { "Programs send it as the header " code { "X-API-Key" } ". Whoever has it may do what it may, so keep it like a password." }
            (line(key))
        }
    };
    page(StatusCode::CREATED, "Your new key", Some(viewer), &content)
}

async fn revoke(call: Call, form: Form) -> Result<Reply, ApiError> {
    if let Err(reply) = visit::sender(&call, &form) {
        return Ok(*reply);
    }
    match apikey::revoke_own(&call).await {
        Ok(()) => Ok(lead_to("/portcullis/account/keys/?revoked")),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(lead_to("/portcullis/account/keys/?gone")),
        Err(error) => Err(error),
    }
}
