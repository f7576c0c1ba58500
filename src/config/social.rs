//! `login.social`: who else may say who somebody is.
//!
//! Law: what is asked of a provider is encrypted, or stays on this machine. A secret is a `Secret`
//! from here on. A provider says no more than its settings let it: whose tokens, for whom, from where.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::Permitted;
use super::notice::{authorities, is_here, timeout};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use crate::base::Secret;

/// One provider of identities.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SocialProvider")]
pub struct Provider {
    /// How it is spoken to; `null`: as its name says, and `oidc` for every other name.
    kind: Option<ProviderKind>,
    /// What the provider calls this gateway.
    #[schemars(length(min = 1, max = 200))]
    pub client_id: String,
    /// What the gateway proves itself with; `${NAME}` takes it from the environment.
    pub client_secret: Option<Secret<String>>,
    /// A file whose content is the secret.
    client_secret_file: Option<PathBuf>,
    /// Other clients of yours at this provider (apps on phones) whose ID tokens are accepted.
    pub audiences: Vec<String>,
    /// Where OpenID Connect providers describe themselves, below `/.well-known/openid-configuration`.
    pub issuer: Option<String>,
    /// Where people log in at GitHub or Facebook, without a slash at the end; `null`: at theirs.
    pub site: Option<String>,
    /// Where the API of GitHub, Facebook or Google is, without a slash at the end; `null`: theirs.
    pub api: Option<String>,
    /// What the button on the login page says after "Continue with"; `null`: the provider's name.
    #[schemars(length(min = 1, max = 40))]
    label: Option<String>,
    /// What is asked for; `null`: who the person is, and the e-mail address.
    #[schemars(length(min = 1))]
    scopes: Option<Vec<String>>,
    /// Where codes may go of callers without an application; those with one have its own list.
    pub redirect_uris: Vec<String>,
    /// What becomes of an identity whose e-mail address an account has.
    pub link: Link,
    /// Whether its hosts may be on this machine or in a private network.
    pub allow_private: bool,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// How long one question may take; all those of one login together take a quarter longer at most.
    #[serde(with = "As::<Span>")]
    pub timeout: Duration,
    /// PEM.
    #[serde(skip)]
    #[schemars(skip)]
    pub authorities: Option<Vec<u8>>,
    #[serde(skip)]
    #[schemars(skip)]
    name: String,
}

/// How a provider is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    Google,
    Github,
    Microsoft,
    Facebook,
    /// OpenID Connect, by discovery.
    Oidc,
}

/// What becomes of an identity whose e-mail address an account has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// It opens that account, if both the provider and the account have it confirmed.
    Verified,
    /// Its person connects it, logged in.
    Never,
}

impl ProviderKind {
    fn of_name(name: &str) -> Self {
        match name {
            "google" => Self::Google,
            "github" => Self::Github,
            "microsoft" => Self::Microsoft,
            "facebook" => Self::Facebook,
            _ => Self::Oidc,
        }
    }

    const fn label(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("Google"),
            Self::Github => Some("GitHub"),
            Self::Microsoft => Some("Microsoft"),
            Self::Facebook => Some("Facebook"),
            Self::Oidc => None,
        }
    }

    /// Whether it gives ID tokens.
    #[must_use]
    pub const fn has_id_tokens(self) -> bool {
        matches!(self, Self::Google | Self::Microsoft | Self::Oidc)
    }

    const fn issuer(self) -> Option<&'static str> {
        match self {
            Self::Google => Some("https://accounts.google.com"),
            Self::Microsoft => Some("https://login.microsoftonline.com/common/v2.0"),
            Self::Github | Self::Facebook | Self::Oidc => None,
        }
    }

    const fn site(self) -> Option<&'static str> {
        match self {
            Self::Github => Some("https://github.com"),
            Self::Facebook => Some("https://www.facebook.com/v18.0"),
            Self::Google | Self::Microsoft | Self::Oidc => None,
        }
    }

    const fn api(self) -> Option<&'static str> {
        match self {
            Self::Github => Some("https://api.github.com"),
            Self::Facebook => Some("https://graph.facebook.com/v18.0"),
            Self::Google => Some("https://oauth2.googleapis.com"),
            Self::Microsoft | Self::Oidc => None,
        }
    }

    const fn scopes(self) -> &'static str {
        match self {
            Self::Google | Self::Microsoft | Self::Oidc => "openid email profile",
            Self::Github => "read:user user:email",
            Self::Facebook => "email,public_profile",
        }
    }
}

/// Words that stand in paths where the name of a provider stands in others.
const TAKEN: [&str; 3] = ["connections", "finish", "ldap"];
/// The longest name.
const NAME_MAX: usize = 40;

impl Provider {
    #[must_use]
    pub fn kind(&self) -> ProviderKind {
        self.kind.unwrap_or_else(|| ProviderKind::of_name(&self.name))
    }

    /// What people call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_deref().or(self.kind().label()).unwrap_or(&self.name)
    }

    /// What is asked for, as the provider reads it.
    #[must_use]
    pub fn scope(&self) -> String {
        let separator = if self.kind() == ProviderKind::Facebook { "," } else { " " };
        self.scopes.as_ref().map_or_else(|| self.kind().scopes().to_owned(), |own| own.join(separator))
    }

    pub(super) fn check(
        &mut self,
        name: &str,
        place: &Place,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) {
        name.clone_into(&mut self.name);
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_name) {
            report.problem(place, "the name of a provider: 1 to 40 of a to z, 0 to 9, `-` and `_`");
        }
        if TAKEN.contains(&name) {
            report.problem(place, format!("`{name}` stands for something else in paths"));
        }
        timeout(self.timeout, place, report);
        if self.client_id.trim().is_empty() {
            report.problem(&place.key("client_id"), "missing: what the provider calls this gateway");
        }
        self.check_secret(place, files, report, permitted);
        self.check_places(place, report);
        let is_scope =
            |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
        if self.scopes.as_ref().is_some_and(|scopes| !scopes.iter().all(is_scope)) {
            report.problem(&place.key("scopes"), "a scope is a word without blanks");
        }
        let is_label = |label: &str| !label.trim().is_empty() && !label.chars().any(char::is_control);
        if self.label.as_deref().is_some_and(|label| !is_label(label)) {
            report.problem(&place.key("label"), "a word or two that people know it by");
        }
        self.authorities = authorities(self.ca_file.as_ref(), place, files, report);
    }

    fn check_secret(
        &mut self,
        place: &Place,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) {
        if let Some(path) = &self.client_secret_file {
            let place = place.key("client_secret_file");
            if self.client_secret.is_some() {
                report.problem(&place, "there is a `client_secret` already");
            }
            self.client_secret = files.password(path, &place, report, permitted);
        }
        if self.client_secret.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
            report.problem(&place.key("client_secret"), "empty");
        }
        let is_needed = matches!(self.kind(), ProviderKind::Github | ProviderKind::Facebook);
        let is_missing = self.client_secret.is_none() && self.client_secret_file.is_none();
        // One that could not be read, as where a variable is not set, is not missing.
        if is_needed && is_missing && !report.is_told(&place.key("client_secret")) {
            report
                .problem(&place.key("client_secret"), "missing: this provider asks for one")
                .hint("write `client_secret: ${NAME}`, or `client_secret_file: PATH`");
        }
    }

    fn check_places(&mut self, place: &Place, report: &mut Report) {
        let kind = self.kind();
        let own = [
            ("issuer", &mut self.issuer, kind.issuer(), kind.has_id_tokens()),
            ("site", &mut self.site, kind.site(), kind.site().is_some()),
            ("api", &mut self.api, kind.api(), kind.api().is_some()),
        ];
        for (key, value, usual, is_used) in own {
            let place = place.key(key);
            match value {
                Some(_) if !is_used => {
                    report.problem(&place, "nothing is asked there of a provider of this kind");
                }
                Some(url) => check_place(url, &place, self.allow_private, report),
                None if is_used && usual.is_none() => {
                    report
                        .problem(&place, "missing: where the provider describes itself")
                        .hint("write `issuer: https://id.example.com`, exactly as the provider spells it");
                }
                None => *value = usual.map(str::to_owned),
            }
        }
    }
}

fn check_place(url: &str, place: &Place, allow_private: bool, report: &mut Report) {
    let parsed = url.parse::<http::Uri>().ok();
    let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
    let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
    let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
        report.problem(place, "not a URL").hint("write `https://id.example.com`");
        return;
    };
    if url.contains(['?', '#', '@']) || url.len() > 200 {
        report.problem(place, "only scheme, host, port and path, at most 200 characters");
    }
    if scheme == "http" && !is_here(host) {
        report.problem(place, "whoever is in between could say who anybody is").hint("write `https://…`");
    }
    if is_here(host) && !allow_private {
        report
            .problem(place, "this is an address of this machine")
            .hint("`allow_private: true` says that it is meant");
    }
}
