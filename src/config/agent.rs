//! `agents`: what humans may delegate to programs, and within which limits.
//! Law: nothing here is without an end: whatever a token does not say gets a number from here.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::hold::{Hold, HoldMode, RouteApprovers, check_bound};
use super::place::Place;
use super::problem::Report;
use super::redact::{Redacting, RouteRedact};
use super::scalar::{As, Span};
use crate::base::MicroUsd;
use crate::policy::{Code, Definitions};

/// Tokens that humans give to agents.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// Whether there are agents at all.
    #[serde(rename = "enabled")]
    pub is_enabled: bool,
    /// The longest life of a token; what asks for more gets this.
    #[serde(with = "As::<Span>")]
    pub max_lifetime: Duration,
    /// How many tokens of one human may be alive at once. 0: any number.
    #[schemars(range(max = 1_000_000_000))]
    pub max_tokens: u32,
    /// The life of a token that does not say how long.
    #[serde(with = "As::<Span>")]
    pub default_lifetime: Duration,
    /// How many breaches of its rate within an hour suspend a token; those before are answered 429.
    /// 0: none suspends.
    #[schemars(range(max = 1000))]
    pub suspend_after: u32,
    /// Permissions whose use always waits until people have approved it.
    pub confirm: Vec<Code>,
    pub defaults: AgentDefaults,
    /// Whether routes that say nothing themselves hide personal data from agents.
    pub redact_pii: bool,
    pub redact: Redacting,
}

/// The limits of a token that does not say its own. Zero means none at all.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDefaults {
    /// Requests within any minute.
    #[schemars(range(max = 1_000_000_000))]
    pub requests_per_minute: u32,
    /// Requests in its whole life.
    #[schemars(range(max = 1_000_000_000))]
    pub requests_total: u32,
    /// Failures of upstreams one after the other; one more suspends it.
    #[schemars(range(max = 1_000_000_000))]
    pub failed_requests: u32,
    /// Dollars that it may spend.
    #[serde(deserialize_with = "dollars")]
    #[schemars(with = "f64", range(min = 0, max = 1_000_000_000))]
    pub budget_usd: MicroUsd,
}

/// `agents` of a route: what agents need to pass.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteAgents {
    /// Delegated to the agent by this very code, and held by its human now.
    pub permission: Code,
    /// What is hidden in answers; absent: as `agents.redact_pii` says.
    pub redact: Option<RouteRedact>,
    /// What each request takes from the budget of its agent; absent: nothing.
    pub cost: Option<RouteCost>,
    /// Which requests wait until people have approved them.
    pub hold: Hold,
    /// Who sends what was approved.
    pub mode: HoldMode,
    /// Whether the agent may have the answer again within an hour, by asking again for what was executed.
    #[serde(rename = "replay_result")]
    pub is_result_replayed: bool,
    /// Whether it does no harm to send the same twice: what broke off halfway may then be sent again.
    #[serde(rename = "idempotent")]
    pub is_idempotent: bool,
    /// Who decides; absent: the human who delegated.
    pub approvers: Option<RouteApprovers>,
    /// How long people may take to decide.
    #[serde(with = "As::<Span>")]
    pub decide_within: Duration,
    /// How long what was approved may be executed.
    #[serde(with = "As::<Span>")]
    pub execute_within: Duration,
    /// The longest that `Prefer: wait` holds a request open.
    #[serde(with = "As::<Span>")]
    pub wait: Duration,
    /// Headers that are approved and sent with a held request, beside those about its body.
    pub bound_headers: Vec<String>,
}

/// What a request costs: a price, or what the language model behind the route takes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCost {
    /// Dollars, for each request that is sent.
    #[serde(default, deserialize_with = "maybe_dollars")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 1_000_000_000))]
    pub flat_usd: Option<MicroUsd>,
    /// Whose requests and answers pass here: their cost is read from them.
    pub llm: Option<Llm>,
    /// By the name of the model; `*` is any other. What has no price is refused.
    #[serde(default)]
    pub prices: BTreeMap<String, TokenPrices>,
    /// Tokens that may come out where a request does not say.
    #[serde(default = "output_max")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub output_max: u32,
    /// The one member that caps answers of a chat, for servers that do not know both
    /// `max_completion_tokens` and `max_tokens`; the other is then refused.
    pub cap: Option<String>,
    /// Members of requests, kinds of content and kinds of tools that would be refused because nobody
    /// here knows what they cost: tokens of the prompt to reserve for each.
    #[serde(default)]
    pub allow: BTreeMap<String, u32>,
}

/// A way to talk to language models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Llm {
    Openai,
    Anthropic,
}

/// Dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// Of the prompt.
    #[serde(deserialize_with = "dollars")]
    #[schemars(with = "f64", range(min = 0, max = 1_000_000_000))]
    pub input: MicroUsd,
    /// Of the answer.
    #[serde(deserialize_with = "dollars")]
    #[schemars(with = "f64", range(min = 0, max = 1_000_000_000))]
    pub output: MicroUsd,
    /// Of what is written into a cache for five minutes; absent: whoever asks for that is refused.
    #[serde(default, deserialize_with = "maybe_dollars")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 1_000_000_000))]
    pub cache_write: Option<MicroUsd>,
    /// The same for an hour.
    #[serde(default, deserialize_with = "maybe_dollars")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 1_000_000_000))]
    pub cache_write_1h: Option<MicroUsd>,
    /// Of what is read from a cache; absent: as of the prompt.
    #[serde(default, deserialize_with = "maybe_dollars")]
    #[schemars(with = "Option<f64>", range(min = 0, max = 1_000_000_000))]
    pub cache_read: Option<MicroUsd>,
}

const fn output_max() -> u32 {
    4096
}

impl Llm {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

impl RouteCost {
    fn check(&self, place: &Place, report: &mut Report) {
        match (self.flat_usd, self.llm) {
            (Some(MicroUsd::ZERO), _) => {
                report.problem(&place.key("flat_usd"), "nothing").hint("remove `cost`");
            }
            (Some(_), None) | (None, Some(_)) => {}
            (Some(_), Some(_)) | (None, None) => {
                report.problem(place, "needs either `flat_usd` or `llm`");
            }
        }
        if self.llm.is_some() && self.prices.is_empty() {
            report.problem(&place.key("prices"), "no model has a price").hint("name one, or `*` for all");
        }
        let needless = [
            ("prices", !self.prices.is_empty()),
            ("cap", self.cap.is_some()),
            ("allow", !self.allow.is_empty()),
        ];
        for (key, _) in needless.iter().filter(|(_, is_there)| *is_there && self.llm.is_none()) {
            report.problem(&place.key(key), "only where `llm` says whose tokens these are");
        }
        let is_name =
            |cap: &String| !cap.is_empty() && cap.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if self.cap.as_ref().is_some_and(|cap| !is_name(cap)) {
            report.problem(&place.key("cap"), "no name of a member").hint("such as `max_tokens`");
        }
    }
}

const LONGEST: Duration = Duration::from_hours(24);
/// Longer than proxies on the way keep a silent connection.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

impl RouteAgents {
    pub(super) fn check(&self, place: &Place, definitions: &Definitions, report: &mut Report) {
        if let Some(redact) = &self.redact {
            redact.check(&place.key("redact"), report);
        }
        self.hold.check(&place.key("hold"), report);
        if let Some(approvers) = &self.approvers {
            approvers.check(&place.key("approvers"), definitions, report);
        }
        for (key, span) in [("decide_within", self.decide_within), ("execute_within", self.execute_within)] {
            if !(Duration::from_secs(1)..=LONGEST).contains(&span) {
                report.problem(&place.key(key), "between 1s and 24h");
            }
        }
        if self.wait > LONGEST_WAIT {
            report.problem(&place.key("wait"), "longer than 5m");
        }
        check_bound(&self.bound_headers, &place.key("bound_headers"), report);
        let is_whole = report.is_whole("organizations") && report.is_whole("permissions");
        if is_whole && !definitions.knows_org_permission(&self.permission) {
            report
                .problem(
                    &place.key("permission"),
                    format!("no permission is called `{}`, and no org role grants it", self.permission),
                )
                .hint("declare it under `permissions`, or let a role of `organizations.roles` grant it");
        }
        let is_metered = self.cost.as_ref().is_some_and(|cost| cost.llm.is_some());
        if self.mode == HoldMode::Sealed && is_metered {
            report
                .problem(&place.key("mode"), "calls of a language model are sent while their agent waits")
                .hint("remove `mode: sealed`, or `cost: {llm: …}`");
        }
        if let Some(cost) = &self.cost {
            cost.check(&place.key("cost"), report);
        }
    }
}

/// The shortest form of a YAML number is what the file says.
fn dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MicroUsd, D::Error> {
    let number = f64::deserialize(deserializer)?;
    MicroUsd::parse(&number.to_string()).map_err(serde::de::Error::custom)
}

fn maybe_dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MicroUsd>, D::Error> {
    dollars(deserializer).map(Some)
}

impl Agents {
    pub(super) fn check(&self, definitions: &Definitions, report: &mut Report) {
        let place = Place::root().key("agents");
        self.redact.check(&place.key("redact"), report);
        let is_whole = report.is_whole("organizations") && report.is_whole("permissions");
        for (at, code) in self.confirm.iter().enumerate() {
            if is_whole && !definitions.knows_org_permission(code) {
                let problem = format!("no permission is called `{code}`, and no org role grants it");
                report.problem(&place.key("confirm").item(at), problem);
            }
        }
        if self.max_lifetime < Duration::from_secs(1) {
            report.problem(&place.key("max_lifetime"), "shorter than a second");
        }
        if self.default_lifetime < Duration::from_secs(1) {
            report.problem(&place.key("default_lifetime"), "shorter than a second");
        }
        if self.default_lifetime > self.max_lifetime {
            report.problem(&place.key("default_lifetime"), "longer than `max_lifetime`");
        }
    }
}
