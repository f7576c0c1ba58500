//! `allow` of a route: from the file's map of conditions to the policy's tree.
//!
//! Law: several keys in one map mean all of them. Whatever could be a slip of the pen (an empty
//! list or map, `false`, `anyone` inside a condition) is an error, never a policy.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;
use super::rights::{Kind, refer};
use super::scalar::{Maybe, Span};
use crate::policy::allow::{Allow, Condition, Named};
use crate::policy::{Code, Definitions, Pattern};

/// `anyone`, `signed_in`, or conditions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Allow")]
pub(super) enum RawAllow {
    Word(Word),
    Conditions(Box<RawConditions>),
}

/// A policy in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Anyone,
    SignedIn,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Conditions", extend("minProperties" = 1))]
pub(super) struct RawConditions {
    /// A permission held globally.
    #[serde(default)]
    permission: Option<Code>,
    /// A role.
    #[serde(default)]
    role: Option<Code>,
    /// A group.
    #[serde(default)]
    group: Option<Code>,
    /// What the caller is in the organization that the request names.
    #[serde(default)]
    org: Option<RawOrg>,
    /// A confirmed e-mail address or phone number.
    #[serde(default)]
    verified: Option<Verified>,
    /// A second factor at login.
    #[serde(default)]
    mfa: Option<True>,
    /// The longest time since the caller proved who they are.
    #[serde(default, with = "Maybe::<Span>")]
    max_age: Option<Duration>,
    /// The staff flag.
    #[serde(default)]
    staff: Option<True>,
    /// The superuser flag.
    #[serde(default)]
    superuser: Option<True>,
    /// The path parameter that must be the caller's own id.
    #[serde(default)]
    owner: Option<String>,
    /// `any`, or the name of an application.
    #[serde(default)]
    application: Option<String>,
    /// A scope of the token.
    #[serde(default)]
    scope: Option<String>,
    /// All of a list.
    #[serde(default)]
    #[schemars(length(min = 1))]
    all: Option<Vec<RawAllow>>,
    /// At least one of a list.
    #[serde(default)]
    #[schemars(length(min = 1))]
    any: Option<Vec<RawAllow>>,
    /// The opposite.
    #[serde(default)]
    not: Option<RawAllow>,
}

/// What the caller is in an organization, in one word or as conditions that must all hold.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RawOrg {
    Word(OrgWord),
    Conditions(RawOrgConditions),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OrgWord {
    Member,
    Owner,
    Admin,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OrgConditions", extend("minProperties" = 1))]
struct RawOrgConditions {
    /// A role there or above.
    #[serde(default)]
    role: Option<Code>,
    /// A permission through a role there or above.
    #[serde(default)]
    permission: Option<Code>,
    /// The organization's plan.
    #[serde(default)]
    plan: Option<String>,
    /// The organization's status.
    #[serde(default)]
    status: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Verified {
    Email,
    Phone,
}

/// The word `true`: such a condition is asked for or left out, never `false`.
#[derive(Clone, Copy, Debug)]
struct True;

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? { Ok(Self) } else { Err(serde::de::Error::custom("only `true`")) }
    }
}

impl JsonSchema for True {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "boolean", "const": true })
    }
}

/// What the conditions of one route are checked against.
pub(super) struct Known<'a> {
    pub definitions: &'a Definitions,
    pub path: &'a Pattern,
}

impl RawAllow {
    pub fn check(&self, place: &Place, known: &Known<'_>, report: &mut Report) -> Allow {
        match self {
            Self::Word(Word::Anyone) => Allow::Anyone,
            _ => Allow::When(self.condition(place, known, report)),
        }
    }

    fn condition(&self, place: &Place, known: &Known<'_>, report: &mut Report) -> Condition {
        match self {
            Self::Word(Word::SignedIn) => Condition::SignedIn,
            Self::Word(Word::Anyone) => {
                report
                    .problem(place, "`anyone` inside a condition would open all of it")
                    .hint("write `allow: anyone`, so that it is seen");
                Condition::SignedIn
            }
            Self::Conditions(map) => {
                let mut list = map.conditions(place, known, report);
                if list.is_empty() {
                    report.problem(place, "no condition");
                }
                if list.len() == 1 { list.remove(0) } else { Condition::All(list) }
            }
        }
    }
}

impl RawConditions {
    fn conditions(&self, place: &Place, known: &Known<'_>, report: &mut Report) -> Vec<Condition> {
        let mut list = Vec::new();
        let all = known.definitions;
        refer(
            self.permission.iter().map(|code| (place.key("permission"), code)),
            Kind::Permission,
            all,
            report,
        );
        refer(self.role.iter().map(|code| (place.key("role"), code)), Kind::Role, all, report);
        refer(self.group.iter().map(|code| (place.key("group"), code)), Kind::Group, all, report);
        list.extend(self.permission.clone().map(Condition::Permission));
        list.extend(self.role.clone().map(Condition::Role));
        list.extend(self.group.clone().map(Condition::Group));
        if let Some(org) = &self.org {
            org.add(&place.key("org"), known, report, &mut list);
        }
        list.extend(self.verified.map(|what| match what {
            Verified::Email => Condition::VerifiedEmail,
            Verified::Phone => Condition::VerifiedPhone,
        }));
        list.extend(self.mfa.map(|True| Condition::Mfa));
        list.extend(self.max_age.map(Condition::MaxAge));
        list.extend(self.staff.map(|True| Condition::Staff));
        list.extend(self.superuser.map(|True| Condition::Superuser));
        if let Some(name) = &self.owner {
            if !known.path.params().any(|own| own == name) {
                report
                    .problem(&place.key("owner"), format!("the path has no parameter `{{{name}}}`"))
                    .suggest(name, known.path.params());
            }
            list.push(Condition::Owner(name.clone()));
        }
        list.extend(
            self.application.clone().map(|name| {
                Condition::Application(if name == "any" { Named::Any } else { Named::Name(name) })
            }),
        );
        list.extend(self.scope.clone().map(Condition::Scope));
        let mut each = |key: &str, inner: &[RawAllow]| -> Vec<Condition> {
            let place = place.key(key);
            inner.iter().enumerate().map(|(at, one)| one.condition(&place.item(at), known, report)).collect()
        };
        list.extend(self.all.as_deref().map(|inner| Condition::All(each("all", inner))));
        list.extend(self.any.as_deref().map(|inner| Condition::Any(each("any", inner))));
        if let Some(inner) = &self.not {
            let inner = inner.condition(&place.key("not"), known, report);
            inner.visit(&mut |condition| {
                if is_never(condition) {
                    report.problem(
                        &place.key("not"),
                        format!(
                            "`{}` is never true yet, so `not` of it lets everyone pass",
                            condition.name()
                        ),
                    );
                }
            });
            list.push(Condition::Not(Box::new(inner)));
        }
        list
    }
}

/// Whether nothing makes it true yet: no token has a scope.
const fn is_never(condition: &Condition) -> bool {
    matches!(condition, Condition::Scope(_))
}

impl RawOrg {
    fn add(&self, place: &Place, known: &Known<'_>, report: &mut Report, list: &mut Vec<Condition>) {
        let map = match self {
            Self::Word(OrgWord::Member) => return list.push(Condition::OrgMember),
            Self::Word(OrgWord::Owner) => return list.push(Condition::OrgOwner),
            Self::Word(OrgWord::Admin) => return list.push(Condition::OrgAdmin),
            Self::Conditions(map) => map,
        };
        let all = known.definitions;
        refer(map.role.iter().map(|code| (place.key("role"), code)), Kind::OrgRole, all, report);
        if let Some(code) = &map.permission
            && report.is_whole("organizations")
            && report.is_whole("permissions")
            && !all.knows_org_permission(code)
        {
            report
                .problem(
                    &place.key("permission"),
                    format!("no org role grants `{code}`, and no permission is called so"),
                )
                .hint("declare it under `permissions`, or let a role of `organizations.roles` grant it");
        }
        list.extend(map.role.clone().map(Condition::OrgRole));
        list.extend(map.permission.clone().map(Condition::OrgPermission));
        list.extend(map.plan.clone().map(Condition::OrgPlan));
        list.extend(map.status.clone().map(Condition::OrgStatus));
    }
}
