//! `api.profiles`: other systems whose clients the gateway serves as they are.
//!
//! Law: a profile is off unless the file mounts it, and stands in the way of nothing: what it mounts is neither
//! the native API's nor another profile's, or the file is refused.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::overlap::native_paths;
use super::place::Place;
use super::problem::Report;
use crate::policy::Pattern;

/// One mounted profile.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Whose clients are served.
    #[serde(rename = "use")]
    pub wire: Wire,
    /// The path under which they look for it, without a slash at the end.
    #[schemars(regex(pattern = "^(/[A-Za-z0-9._~-]+)+$"))]
    pub prefix: String,
}

/// A system whose clients can be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// The REST API of "Authentication System".
    AuthSystem,
}

impl Wire {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuthSystem => "auth-system",
        }
    }

    /// What stands directly below the mount.
    const fn areas(self) -> &'static [&'static str] {
        match self {
            Self::AuthSystem => &["auth", "users", "admin", "stats", "audit", "health"],
        }
    }
}

/// The one path of the native API whose place a profile may take: its own answers there say the same.
const HEALTH: &str = "/api/v1/health";

impl Profile {
    /// Whether it answers what `/api/v1/health/` is otherwise.
    #[must_use]
    pub fn answers_health(&self) -> bool {
        format!("{}/health", self.prefix) == HEALTH
    }

    /// The subtrees that it answers.
    pub(super) fn subtrees(&self) -> Vec<Pattern> {
        let texts = self.wire.areas().iter().map(|area| format!("{}/{area}/**", self.prefix));
        texts.filter_map(|text| Pattern::parse(&text).ok()).collect()
    }
}

pub(super) fn check(profiles: &[Profile], api_prefix: &str, report: &mut Report) {
    let (native, mut names) = (native_paths(api_prefix), BTreeSet::new());
    let mut mounted: Vec<Pattern> = Vec::new();
    for (at, profile) in profiles.iter().enumerate() {
        let place = Place::root().key("api").key("profiles").item(at);
        if !names.insert(profile.wire) {
            report.problem(&place.key("use"), format!("`{}` is mounted already", profile.wire.name()));
        }
        let place = place.key("prefix");
        let is_path = profile.prefix.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| {
                !matches!(segment, "" | "." | "..")
                    && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
            })
        });
        if !is_path {
            report
                .problem(&place, "not a path such as `/compat`")
                .hint("no slash at the end, no special letters");
            continue;
        }
        let subtrees = profile.subtrees();
        let is_health = |own: &Pattern| own.as_str().trim_end_matches('/') == HEALTH;
        let others =
            native.iter().filter(|own| !(profile.answers_health() && is_health(own))).chain(&mounted);
        let shadowed = others
            .flat_map(|own| subtrees.iter().map(move |subtree| (own, subtree)))
            .find(|(own, subtree)| own.meet(subtree).is_some());
        if let Some((own, subtree)) = shadowed {
            let what = format!("{subtree} of the profile and {own} of the gateway are the same paths");
            report.problem(&place, what).hint(
                "choose another path here, or move the native API out of the way with `api: { prefix: … }`",
            );
        }
        mounted.extend(subtrees);
    }
}
