//! `login`: the ways to prove who one is, beside the password.
//!
//! Law: what is sent to a person is good for minutes, not for days.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::{Insecure, Permitted};
use super::ldap::Ldap;
use super::listen::PublicUrl;
use super::notice::is_here;
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use super::social::Provider;

/// Ways to prove who one is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub otp: Otp,
    pub magic_link: MagicLink,
    pub reset: Reset,
    /// Logging in with a passkey; `null`: nobody can.
    pub passkeys: Option<Passkeys>,
    /// Who else may say who somebody is, by the name that stands in paths.
    pub social: BTreeMap<String, Provider>,
    /// The directory whose people log in with its passwords; `null`: there is none.
    pub ldap: Option<Ldap>,
}

/// One-time codes, by mail and by text message.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otp {
    /// How long a code is good for.
    #[serde(with = "As::<Span>")]
    pub valid_for: Duration,
    /// Whether a code by text message stands for the password at logins.
    pub log_in: bool,
}

/// Links in mail that log in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MagicLink {
    /// The pages that links may lead to, which get `token`; empty: nobody logs in by a link.
    pub targets: Vec<String>,
    /// How long a link is good for.
    #[serde(with = "As::<Span>")]
    pub valid_for: Duration,
}

/// Forgotten passwords.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The page that links in mail lead to, which gets `token` and sets the new password; `null`:
    /// mail holds the code alone.
    pub link: Option<String>,
}

/// Passkeys (WebAuthn): for which domain they are made, and on whose pages.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passkeys {
    /// The domain that passkeys belong to, for ever: those made for another one open nothing here.
    pub rp_id: String,
    /// The origins of the pages that ask for passkeys, each the domain itself or below it.
    #[schemars(length(min = 1))]
    pub origins: Vec<String>,
}

/// The longest that somebody may take to type six digits (six digits can be guessed).
const CODE_MAX: Duration = Duration::from_mins(15);
/// The longest that a mail with a link may wait to be read.
const LINK_MAX: Duration = Duration::from_hours(1);

impl Login {
    pub(super) fn check(&mut self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("login");
        if let Some(link) = &self.reset.link {
            check_link(link, &place.key("reset").key("link"), report, permitted);
        }
        if self.otp.valid_for < Duration::from_mins(1) || self.otp.valid_for > CODE_MAX {
            report.problem(&place.key("otp").key("valid_for"), "between 1m and 15m");
        }
        let place = place.key("magic_link");
        for (at, target) in self.magic_link.targets.iter().enumerate() {
            check_link(target, &place.key("targets").item(at), report, permitted);
        }
        if self.magic_link.valid_for < Duration::from_mins(1) || self.magic_link.valid_for > LINK_MAX {
            report.problem(&place.key("valid_for"), "between 1m and 1h");
        }
        if let Some(passkeys) = &self.passkeys {
            passkeys.check(&Place::root().key("login").key("passkeys"), report);
        }
        let place = Place::root().key("login").key("social");
        for (name, provider) in &mut self.social {
            provider.check(name, &place.key(name), files, report, permitted);
        }
        if let Some(ldap) = &mut self.ldap {
            ldap.check(&Place::root().key("login").key("ldap"), files, report, permitted);
        }
    }
}

impl Passkeys {
    /// Whether pages of this origin may ask for passkeys.
    #[must_use]
    pub fn admits(&self, origin: &str) -> bool {
        self.origins.iter().any(|one| one == origin)
    }

    fn check(&self, place: &Place, report: &mut Report) {
        let id = &self.rp_id;
        if let Err(why) = domain(id) {
            report
                .problem(&place.key("rp_id"), why)
                .hint("write the domain alone, in lower case, such as `example.com`");
            return;
        }
        let place = place.key("origins");
        for (at, origin) in self.origins.iter().enumerate() {
            if let Err(why) = check_origin(origin, id) {
                report.problem(&place.item(at), why).hint(format!("write `https://{id}`"));
            }
        }
    }
}

/// Browsers make passkeys for domains: not for addresses, and not for a whole top-level domain.
fn domain(text: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !label.is_empty() && label.len() <= 63 && is_plain && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(is_label) {
        return Err(format!("`{text}` is not a domain"));
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err("passkeys belong to a domain, and this is an address".to_owned());
    }
    if text != "localhost" && !text.contains('.') {
        return Err(format!("browsers make no passkeys for all of `.{text}`"));
    }
    Ok(())
}

/// Browsers write an origin in one way, and give passkeys to pages over https and to this machine's own.
fn check_origin(origin: &str, id: &str) -> Result<(), String> {
    let url = PublicUrl::parse(origin)?;
    if url.to_string() != origin {
        return Err(format!("browsers write this origin as `{url}`"));
    }
    let is_local = url.host == "localhost" || url.host.ends_with(".localhost");
    if !url.is_https && !is_local {
        return Err("browsers use passkeys over https alone".to_owned());
    }
    if url.host != id && !url.host.ends_with(&format!(".{id}")) {
        return Err(format!(
            "`{}` is neither `{id}` nor below it, so browsers refuse its passkeys",
            url.host
        ));
    }
    Ok(())
}

/// A link in a mail is opened by whoever reads it, over whatever network they are in.
pub(super) fn check_link(link: &str, place: &Place, report: &mut Report, permitted: &mut Permitted) {
    let parsed = link.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
        report.problem(place, "not a URL").hint("write `https://app.example.com/reset`");
        return;
    };
    if link.contains(['#', '@', ' ']) {
        report.problem(place, "a link has neither a user nor a fragment");
    }
    if scheme == "http" && !is_here(host) && !permitted.has(Insecure::UnencryptedNotices) {
        report
            .problem(place, "what opens an account would cross the network for everyone to read")
            .hint("write `https://…`; `insecure: [unencrypted_notices]` accepts the risk");
    }
}
