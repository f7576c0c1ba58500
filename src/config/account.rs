//! `accounts`, `applications`, `api`: who may register and log in, and where that happens.
//! Law: what weakens a login is refused here, or named under `insecure`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::{Insecure, Permitted};
use super::login::check_link;
use super::notice::{authorities, is_here};
use super::place::Place;
use super::problem::Report;
use super::profile::{self, Profile};
use super::scalar::{As, Maybe, Size, Span};

/// The longest that somebody who chooses a password waits for the service that is asked about it.
const BREACH_WITHIN: Duration = Duration::from_secs(10);

/// The shortest that a key of somebody's program may live.
const KEY_MIN: Duration = Duration::from_mins(1);
/// The longest that any may, whatever else is said.
pub const KEY_MAX: Duration = Duration::from_hours(365 * 24);

/// The shortest within which somebody logs in and changes something.
const ADMIN_MAX_AGE_MIN: Duration = Duration::from_mins(1);

/// The longest that somebody waits for their account to go.
const GRACE_MAX: Duration = Duration::from_hours(365 * 24);
/// The longest that a mail may wait to be read that ends an account.
const CONFIRM_MAX: Duration = Duration::from_hours(7 * 24);

/// Registration, passwords and lockout.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    pub registration: Registration,
    pub password: Password,
    pub lockout: Lockout,
    /// Whom to ask whether a new password is known from a breach; `null`: nobody.
    pub breach_check: Option<BreachCheck>,
    /// Whether staff and superusers must have a second factor.
    pub staff_second_factor: StaffSecondFactor,
    /// What authenticator apps show beside an account.
    #[schemars(length(min = 1, max = 64))]
    pub totp_issuer: String,
    pub deletion: Deletion,
    pub api_keys: ApiKeys,
}

/// Keys that people make for programs of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeys {
    /// How long a key lives that names no end.
    #[serde(with = "As::<Span>")]
    pub default_lifetime: Duration,
    /// How long any may live.
    #[serde(with = "As::<Span>")]
    pub max_lifetime: Duration,
}

impl ApiKeys {
    fn check(self, place: &Place, report: &mut Report) {
        let max = place.key("max_lifetime");
        if self.max_lifetime < KEY_MIN || self.max_lifetime > KEY_MAX {
            report.problem(&max, "between 1m and 365d");
        }
        if self.default_lifetime < KEY_MIN || self.default_lifetime > self.max_lifetime {
            report
                .problem(&place.key("default_lifetime"), "between 1m and `max_lifetime`")
                .hint("a key that names no end must have one that is allowed");
        }
    }
}

/// What happens when somebody wants their account gone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// How long people may change their minds after they have confirmed it.
    #[serde(with = "As::<Span>")]
    pub grace: Duration,
    /// How long the link that confirms it is good for.
    #[serde(with = "As::<Span>")]
    pub confirm_within: Duration,
    /// The page that the link leads to, which gets `token`; `null`: our own page.
    pub link: Option<String>,
}

impl Deletion {
    fn check(&self, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        if self.grace > GRACE_MAX {
            report.problem(&place.key("grace"), "365d at most");
        }
        if self.confirm_within < Duration::from_mins(5) || self.confirm_within > CONFIRM_MAX {
            report.problem(&place.key("confirm_within"), "between 5m and 7d");
        }
        if let Some(link) = &self.link {
            check_link(link, &place.key("link"), report, permitted);
        }
    }
}

/// A service that knows passwords from breaches, and is asked by five digits of a digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreachCheck {
    /// Where it is: `/range/12345` is added.
    pub url: String,
    /// How long it may take.
    #[serde(with = "As::<Span>")]
    pub timeout: Duration,
    /// What becomes of a new password while the service gives no answer.
    pub on_unavailable: OnUnavailable,
    /// Whether it may be at a private address.
    pub allow_private: bool,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// PEM.
    #[serde(skip)]
    #[schemars(skip)]
    pub authorities: Option<Vec<u8>>,
}

/// What becomes of what cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnavailable {
    /// It is taken.
    Allow,
    /// It is not, until there is an answer.
    Refuse,
}

impl BreachCheck {
    fn check(&mut self, place: &Place, files: &Files<'_>, report: &mut Report) {
        self.authorities = authorities(self.ca_file.as_ref(), place, files, report);
        let parsed = self.url.parse::<http::Uri>().ok();
        let host = parsed.as_ref().and_then(http::Uri::host).filter(|host| !host.is_empty());
        let scheme = parsed.as_ref().and_then(http::Uri::scheme_str);
        let url = place.key("url");
        let (Some(host), Some(scheme @ ("https" | "http"))) = (host, scheme) else {
            report.problem(&url, "not a URL").hint("write `https://api.pwnedpasswords.com`");
            return;
        };
        if self.url.ends_with('/') || self.url.contains(['?', '#', '@']) {
            report.problem(&url, "only scheme, host, port and path, without a slash at the end");
        }
        if scheme == "http" && !is_here(host) {
            report
                .problem(&url, "anyone on the way could say that a password is fine")
                .hint("write `https://…`");
        }
        if is_here(host) && !self.allow_private {
            report
                .problem(&url, "this is an address of this machine")
                .hint("`allow_private: true` says that it is meant");
        }
        if self.timeout.is_zero() || self.timeout > BREACH_WITHIN {
            report.problem(&place.key("timeout"), "more than nothing, and 10s at most");
        }
    }
}

/// Whether those who may do the most log in with a password alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StaffSecondFactor {
    /// Without one they can do nothing but set one up.
    Required,
    Optional,
}

/// Who may make an account.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Whether `register/` makes accounts at all.
    pub open: bool,
    /// Whether `register/` with `login: true` answers with tokens. That tells a taken e-mail
    /// address from a free one.
    pub log_in_at_once: bool,
    /// Whether everybody who makes an account for themselves gets an organization of their own with it.
    pub workspace: bool,
}

/// What a password must be, and how it is kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Password {
    /// `classes`: `min_length` and `require`; `nist`: length 15 and no classes.
    pub rules: PasswordRules,
    /// The fewest characters.
    #[schemars(range(min = 1, max = 64))]
    pub min_length: usize,
    /// The most characters.
    #[schemars(range(min = 64, max = 1024))]
    pub max_length: usize,
    /// Classes of characters of which a password has at least one each.
    pub require: Vec<CharacterClass>,
    /// How many former passwords may not come back; 0: any may.
    #[schemars(range(max = 24))]
    pub history: u32,
    pub hash: Hash,
    pub argon2: Argon2,
}

/// Which school of password rules applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasswordRules {
    Classes,
    Nist,
}

/// A class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CharacterClass {
    Upper,
    Lower,
    Digit,
    Special,
}

/// How new passwords are hashed. Others are verified and hashed anew at login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    Argon2id,
}

/// The cost of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Argon2 {
    /// Memory for one hash.
    #[serde(with = "As::<Size>")]
    pub memory: u64,
    /// Passes over that memory.
    #[schemars(range(min = 1, max = 20))]
    pub iterations: u32,
    /// Parts of it that could be worked on at once.
    #[schemars(range(min = 1, max = 16))]
    pub lanes: u32,
}

/// What repeated failures lead to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lockout {
    /// Failures before a lock.
    #[schemars(range(min = 1, max = 100))]
    pub after: u32,
    /// How long the first lock holds, and how long a failure is remembered.
    #[serde(rename = "for", with = "As::<Span>")]
    pub locked_for: Duration,
    /// The longest lock.
    #[serde(with = "As::<Span>")]
    pub max: Duration,
    /// Whether each further lock is twice as long.
    pub escalate: bool,
}

/// API clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Applications {
    /// Where a request must carry an application's access key.
    pub required: Required,
}

/// Where application keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    /// Under `api.prefix`.
    Api,
    /// There and on proxied routes.
    Everywhere,
    Nowhere,
}

/// The built-in API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The path under which the built-in endpoints are, without a slash at the end.
    #[schemars(regex(pattern = "^(/[A-Za-z0-9._~-]+)+$"))]
    pub prefix: String,
    /// `/docs`, `/redoc` and `/openapi.json` on the public listener.
    pub docs: Docs,
    /// How long ago whoever changes keys of applications, roles or permissions of others, or deletes people, may have
    /// logged in, or proved a second factor; `null`: as long ago as their session lives.
    #[serde(with = "Maybe::<Span>")]
    pub admin_max_age: Option<Duration>,
    /// Other systems whose clients are served too, each below a path of its own.
    pub profiles: Vec<Profile>,
}

/// Where the API's documentation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Docs {
    /// Publicly in preset `development`, otherwise on the admin listener only.
    Auto,
    /// On both listeners.
    Public,
    /// On the admin listener only.
    Admin,
}

impl Accounts {
    pub(super) fn check(&mut self, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("accounts");
        let password = &self.password;
        if password.min_length < 8 && !permitted.has(Insecure::WeakPasswords) {
            report
                .problem(&place.key("password").key("min_length"), "shorter than 8 characters")
                .hint("`insecure: [weak_passwords]` accepts the risk");
        }
        let argon2 = password.argon2;
        let is_weak = argon2.memory < 19 << 20 || argon2.iterations < 2;
        if is_weak && !permitted.has(Insecure::WeakHash) {
            report
                .problem(&place.key("password").key("argon2"), "weaker than 19MiB and 2 iterations")
                .hint("`insecure: [weak_hash]` accepts the risk");
        }
        if argon2.memory < 8 * 1024 * u64::from(argon2.lanes) || argon2.memory > 1 << 30 {
            report.problem(
                &place.key("password").key("argon2").key("memory"),
                "between 8KiB for each lane and 1GiB",
            );
        }
        if self.totp_issuer.trim().is_empty() || self.totp_issuer.contains(':') || self.totp_issuer.len() > 64
        {
            report.problem(&place.key("totp_issuer"), "between 1 and 64 letters, and no colon");
        }
        if let Some(breach) = &mut self.breach_check {
            breach.check(&place.key("breach_check"), files, report);
        }
        self.deletion.check(&place.key("deletion"), report, permitted);
        self.api_keys.check(&place.key("api_keys"), report);
        let lockout = place.key("lockout");
        if self.lockout.locked_for.is_zero() {
            report.problem(&lockout.key("for"), "a lock that does not last stops nobody");
        }
        if self.lockout.max < self.lockout.locked_for {
            report.problem(&lockout.key("max"), "shorter than `for`").hint("make `max` at least as long");
        }
    }
}

impl Api {
    pub(super) fn check(&self, report: &mut Report) {
        let place = Place::root().key("api").key("prefix");
        let ok = self.prefix.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| {
                !matches!(segment, "" | "." | "..")
                    && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
            })
        });
        if !ok {
            report
                .problem(&place, "not a path such as `/api/v1/auth`")
                .hint("no slash at the end, no special letters");
        }
        if ["/portcullis", "/.well-known", "/docs", "/redoc"].iter().any(|own| self.prefix.starts_with(own)) {
            report.problem(&place, "this path belongs to other pages of the gateway");
        }
        if self.admin_max_age.is_some_and(|most| most < ADMIN_MAX_AGE_MIN) {
            report
                .problem(&Place::root().key("api").key("admin_max_age"), "shorter than 1m")
                .hint("nobody could log in and change anything within that");
        }
        profile::check(&self.profiles, &self.prefix, report);
    }
}
