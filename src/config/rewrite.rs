//! `rewrite` of a route: what changes in path and host on the way to the backend.
//!
//! Law: a prefix is whole segments, and one that is stripped stands in front of every path of its
//! route, so that a rewrite can never fail while a request waits.

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;
use super::scalar::{HostName, Maybe};
use crate::policy::pattern::Segment;
use crate::policy::{Host, Pattern};

/// Changes on the way as the file writes them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(super) struct RawRewrite {
    /// Taken from the front of the path.
    pub strip_prefix: Option<String>,
    /// Put before the path.
    pub add_prefix: Option<String>,
    /// The `Host` instead of the upstream's rule.
    #[serde(default, with = "Maybe::<HostName>")]
    pub host: Option<Host>,
}

/// Changes on the way. Prefixes begin with a slash and end without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub strip_prefix: Option<String>,
    pub add_prefix: Option<String>,
    pub host: Option<String>,
}

impl RawRewrite {
    pub fn check(self, path: &Pattern, place: &Place, report: &mut Report) -> Rewrite {
        let mut prefix = |key: &str, text: Option<String>| -> Option<String> {
            let text = text?;
            let parsed = Pattern::parse(&text).ok().filter(|pattern| {
                pattern.segments().iter().all(|s| matches!(s, Segment::Literal(l) if !l.is_empty()))
            });
            if parsed.is_none() {
                report
                    .problem(&place.key(key), format!("`{text}` is not a prefix"))
                    .hint("it begins with a slash, ends without one and has no `{name}` or `**`");
            }
            parsed.map(|pattern| pattern.as_str().to_owned())
        };
        let strip_prefix = prefix("strip_prefix", self.strip_prefix);
        let add_prefix = prefix("add_prefix", self.add_prefix);
        if let Some(strip) = &strip_prefix {
            let whole = Pattern::parse(&format!("{strip}/**"));
            if !whole.is_ok_and(|whole| whole.contains(path)) {
                report
                    .problem(
                        &place.key("strip_prefix"),
                        format!("`{strip}` is not in front of every path of {path}"),
                    )
                    .hint("begin the route's path with it");
            }
        }
        let host = match self.host {
            Some(Host::OneLabelBefore(_)) => {
                report.problem(&place.key("host"), "a wildcard is not a host to send");
                None
            }
            host => host.map(|host| host.to_string()),
        };
        Rewrite { strip_prefix, add_prefix, host }
    }
}
