//! The frame of every page, and the headers that keep browsers from doing more than showing it.
//!
//! Law: a page is stored nowhere, framed by nobody and runs nothing, but for the one script that asks
//! for passkeys, on the pages that do. Style sheet and script are files of ours, named with their
//! digests so that browsers may keep them.

use std::sync::LazyLock;
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{self, HeaderName, HeaderValue};
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use super::form;
use crate::app::App;
use crate::base::{Id, Timestamp};
use crate::crypto::digest;
use crate::http::Reply;
use crate::principal::Principal;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("passkey.js");

static STYLE_DIGEST: LazyLock<String> = LazyLock::new(|| digest::sha256_hex(CSS.as_bytes())[..16].to_owned());
static SCRIPT_DIGEST: LazyLock<String> =
    LazyLock::new(|| digest::sha256_hex(SCRIPT.as_bytes())[..16].to_owned());

const POLICY_WITH_SCRIPT: &str = "default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// `same-origin`, not `no-referrer`: with that, browsers name no origin in the forms that they send.
const HEADERS: [(HeaderName, HeaderValue); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'",
        ),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Who looks at a page, and the secret that the forms of that page carry.
#[derive(Clone)]
pub(super) struct Viewer<'a> {
    pub(super) person: &'a Principal,
    pub(super) csrf: String,
}

impl Viewer<'_> {
    /// What a form needs to be believed.
    pub(super) fn proof(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.csrf); }
    }

    /// The same in another session: the forms that the page holds are sent from there.
    pub(super) fn within(&self, app: &App, session: Id) -> Self {
        Self { person: self.person, csrf: form::secret_of(app, session) }
    }

    /// Whose password it is that a form asks for, for those who keep passwords.
    pub(super) fn owner(&self) -> Markup {
        let email = self.person.account.email.as_ref().map(ToString::to_string).unwrap_or_default();
        html! { input type="text" name="username" autocomplete="username" value=(email) hidden readonly; }
    }
}

/// A whole page. `title` is ours; what is in `content` was escaped when it was made.
pub(super) fn page(status: StatusCode, title: &str, viewer: Option<&Viewer<'_>>, content: &Markup) -> Reply {
    let whole = whole(title, viewer, content, &html! {});
    guarded(Reply::bytes(status, HTML, whole.into_string()))
}

/// The same where a passkey may be asked for: the one thing that browsers do for scripts alone.
pub(super) fn passkey_page(
    status: StatusCode,
    title: &str,
    viewer: Option<&Viewer<'_>>,
    content: &Markup,
) -> Reply {
    let script = html! { script src=(format!("/portcullis/passkey.js?v={}", *SCRIPT_DIGEST)) defer {} };
    let whole = whole(title, viewer, content, &script);
    let reply = guarded(Reply::bytes(status, HTML, whole.into_string()));
    reply.with(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY_WITH_SCRIPT))
}

fn whole(title: &str, viewer: Option<&Viewer<'_>>, content: &Markup, more: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Portcullis" }
                link rel="stylesheet" href=(format!("/portcullis/style.css?v={}", *STYLE_DIGEST));
                (more)
            }
            body {
                a.skip href="#main" { "To the content" }
                header {
                    a.brand href=(super::HOME) { "Portcullis" }
                    @if let Some(viewer) = viewer {
                        nav {
                            a href=(super::HOME) { "Approvals" }
                            a href=(super::ACCOUNT) { "Account" }
                            @if super::admin::is_for(viewer.person) { a href=(super::admin::ADMIN) { "Administration" } }
                        }
                        (who(viewer))
                    }
                }
                main id="main" { (content) }
            }
        }
    }
}

fn who(viewer: &Viewer<'_>) -> Markup {
    let account = &viewer.person.account;
    let name = account.email.as_ref().map(ToString::to_string).or_else(|| account.username.clone());
    html! {
        form.who method="post" action="/portcullis/logout/" {
            (viewer.proof())
            span { (name.unwrap_or_else(|| account.id.to_string())) }
            button.quiet type="submit" { "Log out" }
        }
    }
}

/// A file to be kept, which no browser shows.
pub(super) fn download(name: &'static str, value: &impl Serialize) -> Reply {
    let reply = guarded(Reply::json(StatusCode::OK, value));
    match HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        Ok(kept) => reply.with(header::CONTENT_DISPOSITION, kept),
        Err(_) => reply.with(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    }
}

/// Goes on elsewhere among our own pages. The way is ours: never a text that came from outside.
pub(super) fn lead_to(path: &str) -> Reply {
    let reply = guarded(Reply::bytes(StatusCode::SEE_OTHER, HTML, ""));
    match HeaderValue::try_from(path) {
        Ok(path) => reply.with(header::LOCATION, path),
        Err(_) => reply.with(header::LOCATION, HeaderValue::from_static(super::HOME)),
    }
}

pub(super) fn style() -> Reply {
    file("text/css; charset=utf-8", CSS, &STYLE_DIGEST)
}

pub(super) fn passkey_script() -> Reply {
    file("text/javascript; charset=utf-8", SCRIPT, &SCRIPT_DIGEST)
}

fn file(kind: &'static str, text: &'static str, digest: &str) -> Reply {
    let reply = Reply::bytes(StatusCode::OK, kind, text).cached("public, max-age=31536000, immutable");
    let reply = guarded(reply);
    match HeaderValue::try_from(format!("\"{digest}\"")) {
        Ok(tag) => reply.with(header::ETAG, tag),
        Err(_) => reply,
    }
}

/// A page about a request that came to nothing, for whoever calls a page: says nothing of what was sent.
#[must_use]
pub fn trouble(status: StatusCode) -> Reply {
    let (title, text) = match status {
        StatusCode::NOT_FOUND => (
            "Not found",
            "There is nothing here, or nothing that you may see. A link may be old, or meant for somebody else.",
        ),
        StatusCode::FORBIDDEN => ("Not allowed", "Pages are for people. Nothing was done."),
        StatusCode::TOO_MANY_REQUESTS => ("Too many attempts", "Wait a minute, then try again."),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Not now",
            "The gateway cannot tell at the moment, so nothing was done. Try again in a few seconds.",
        ),
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
            ("Not understood", "What was sent cannot be read. Nothing was done.")
        }
        StatusCode::METHOD_NOT_ALLOWED => ("Not possible", "This page cannot be asked like that."),
        _ => (
            "Something went wrong",
            "Nothing was done that you did not see. Try again, and ask whoever runs this gateway if it stays.",
        ),
    };
    let content = html! {
        h1 { (title) }
        p { (text) }
        p { a href=(super::HOME) { "To what is waiting" } }
    };
    page(status, title, None, &content)
}

/// A way in that the configuration leaves closed: whoever comes to it looks for another one.
pub(super) fn switched_off() -> Reply {
    let content = html! {
        h1 { "Not switched on" }
        p { "Whoever runs this gateway has not switched this on." }
        p { a href="/portcullis/login/" { "To the login page" } }
    };
    page(StatusCode::NOT_FOUND, "Not switched on", None, &content)
}

fn guarded(mut reply: Reply) -> Reply {
    for (name, value) in HEADERS {
        reply.headers.insert(name, value);
    }
    reply
}

/// How long there still is.
pub(super) fn left(until: Timestamp, now: Timestamp) -> Markup {
    let span = until.since(now);
    let text = if span < Duration::from_mins(1) {
        format!("{} seconds left", span.as_secs())
    } else if span < Duration::from_hours(2) {
        format!("{} minutes left", span.as_secs() / 60)
    } else {
        format!("{} hours left", span.as_secs() / 3600)
    };
    html! { time datetime=(until.rfc3339()) { (text) } }
}

pub(super) fn moment(at: Timestamp) -> Markup {
    let whole = at.rfc3339();
    // To the second: `2026-11-20T10:00:00.000000Z`.
    let short = whole.get(..19).unwrap_or(&whole).replace('T', " ");
    html! { time datetime=(whole) { (short) " UTC" } }
}
