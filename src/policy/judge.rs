//! The `allow` tree decided: compiled against a catalogue, then asked about one caller.
//!
//! Law: three values. Unknown never allows; no and unknown are told apart, because "who are you",
//! "in which organization" and "the store is silent" are different answers. A yes allocates nothing.

use std::borrow::Cow;
use std::time::Duration;

use super::allow::{Allow, Condition, Named};
use super::catalogue::{Catalogue, Rights};
use super::{Code, seed};
use crate::base::{Id, Timestamp};

/// What is known about a request when its policy is asked.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub now: Timestamp,
    /// `None`: nobody is signed in.
    pub caller: Option<Caller<'a>>,
    pub organization: Organization<'a>,
    /// The name of the application whose key came with the request.
    pub application: Option<&'a str>,
    /// A path parameter by its name, decoded.
    pub param: &'a dyn Fn(&str) -> Option<Cow<'a, str>>,
}

/// Who is signed in. The rights must come from the catalogue that the policy was compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    pub id: Id,
    pub rights: &'a Rights,
    /// Where the credential reaches only so far: what it reaches. `rights` are then no more than that.
    pub reach: Option<&'a Rights>,
    /// When the caller last proved who they are with a credential.
    pub authenticated_at: Timestamp,
    /// When a second factor was last proved in this session.
    pub second_factor_at: Option<Timestamp>,
    pub is_staff: bool,
    pub is_email_verified: bool,
    pub is_phone_verified: bool,
}

/// The organization that the request names, and what the caller is there.
#[derive(Clone, Copy, Debug)]
pub enum Organization<'a> {
    /// The request names none.
    NotNamed,
    /// It names one, but the store does not answer.
    Silent,
    /// The caller's role there, if a member, and in the organizations above, if those count; and what
    /// the organization itself is.
    Named { here: Option<&'a Code>, above: &'a [Code], plan: &'a str, status: &'a str },
}

/// The answer of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    Yes,
    No(Failure),
    Unknown(Why),
}

/// The condition that said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the configuration calls it, such as `permission` or `org.role`.
    pub condition: &'static str,
    /// The codes that would have made it a yes, sorted.
    pub missing: Vec<Code>,
    /// How recent the login would have to be, where the condition is about that.
    pub within: Option<Duration>,
}

/// Why a policy could not be answered. Where several apply the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nobody is signed in: 401.
    NotSignedIn,
    /// The store is silent: 503.
    StoreSilent,
    /// No organization was named: 400.
    NoOrganization,
}

/// The answer of one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    Unknown(Why),
}

/// One condition with its answer, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Such as `permission reports.read`.
    pub condition: String,
    pub answer: Answer,
    pub inside: Vec<Self>,
}

/// A policy whose codes are indexes of one catalogue.
#[derive(Clone, Debug)]
pub struct CompiledAllow {
    /// `None`: anyone.
    test: Option<Test>,
    /// The catalogue that it was compiled with.
    pub generation: u64,
}

#[derive(Clone, Debug)]
struct Test {
    written: Condition,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Permission(Option<usize>),
    Role(Option<usize>),
    Group(Option<usize>),
    /// One of these org roles, sorted, held there or above.
    OrgRoleInTree(Vec<Code>),
    /// Everything that needs no catalogue: asked as it is written.
    Plain,
}

impl Allow {
    /// Looks the tree's codes up in a catalogue.
    #[must_use]
    pub fn compile(&self, catalogue: &Catalogue) -> CompiledAllow {
        let test = match self {
            Self::Anyone => None,
            Self::When(condition) => Some(compile(condition, catalogue)),
        };
        CompiledAllow { test, generation: catalogue.generation() }
    }
}

fn compile(condition: &Condition, catalogue: &Catalogue) -> Test {
    let each = |list: &[Condition]| list.iter().map(|inner| compile(inner, catalogue)).collect();
    let kind = match condition {
        Condition::All(list) => Kind::All(each(list)),
        Condition::Any(list) => Kind::Any(each(list)),
        Condition::Not(inner) => Kind::Not(Box::new(compile(inner, catalogue))),
        Condition::Permission(code) => Kind::Permission(catalogue.permission(code)),
        Condition::Role(code) => Kind::Role(catalogue.role(code)),
        Condition::Group(code) => Kind::Group(catalogue.group(code)),
        Condition::OrgRole(code) => Kind::OrgRoleInTree(vec![code.clone()]),
        Condition::OrgPermission(code) => Kind::OrgRoleInTree(catalogue.org_roles_granting(code)),
        _ => Kind::Plain,
    };
    Test { written: condition.clone(), kind }
}

impl CompiledAllow {
    /// Whether no credential is needed at all.
    #[must_use]
    pub const fn is_anyone(&self) -> bool {
        self.test.is_none()
    }

    /// Whether some condition asks about an organization.
    #[must_use]
    pub fn asks_organization(&self) -> bool {
        let mut asks = false;
        if let Some(test) = &self.test {
            test.written.visit(&mut |condition| asks |= condition.name().starts_with("org."));
        }
        asks
    }

    /// Whether some condition asks about an application.
    #[must_use]
    pub fn asks_application(&self) -> bool {
        let mut asks = false;
        if let Some(test) = &self.test {
            test.written.visit(&mut |condition| asks |= matches!(condition, Condition::Application(_)));
        }
        asks
    }

    /// Whether only a better login than the caller's would do: a second factor, a fresher one, or another scope,
    /// whatever else was true of the caller.
    #[must_use]
    pub fn is_login_too_weak(&self, facts: &Facts<'_>) -> bool {
        self.test.as_ref().is_some_and(|test| test.at_best(facts, Answer::Yes) != Answer::Yes)
    }

    /// Decides.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Judgement {
        let Some(test) = &self.test else { return Judgement::Yes };
        match test.answer(facts) {
            Answer::Yes => Judgement::Yes,
            Answer::Unknown(why) => Judgement::Unknown(why),
            Answer::No => {
                let mut failure = test.failure(facts);
                failure.missing.sort_unstable();
                failure.missing.dedup();
                Judgement::No(failure)
            }
        }
    }

    /// Every condition with its answer; `None` where anyone may pass.
    #[must_use]
    pub fn explain(&self, facts: &Facts<'_>) -> Option<Explained> {
        self.test.as_ref().map(|test| test.explain(facts))
    }
}

impl Test {
    fn answer(&self, facts: &Facts<'_>) -> Answer {
        match &self.kind {
            // Nothing asked is nothing granted.
            Kind::All(list) if list.is_empty() => Answer::No,
            Kind::All(list) => all(list.iter().map(|test| test.answer(facts))),
            // At least one yes is the opposite of all no.
            Kind::Any(list) => not(all(list.iter().map(|test| not(test.answer(facts))))),
            Kind::Not(inner) => not(inner.answer(facts)),
            Kind::Permission(index) => of_caller(facts, |caller| match index {
                Some(index) => caller.rights.holds(*index),
                None => caller.rights.is_superuser,
            }),
            Kind::Role(index) => {
                of_caller(facts, |caller| index.is_some_and(|index| caller.rights.has_role(index)))
            }
            Kind::Group(index) => {
                of_caller(facts, |caller| index.is_some_and(|index| caller.rights.is_in_group(index)))
            }
            Kind::OrgRoleInTree(roles) => in_organization(facts, |here, above| {
                reaches(facts, &self.written)
                    && here.into_iter().chain(above).any(|role| roles.binary_search(role).is_ok())
            }),
            Kind::Plain => plain(&self.written, facts),
        }
    }

    /// The answer where everything was `hoped` that is not about the login itself.
    fn at_best(&self, facts: &Facts<'_>, hoped: Answer) -> Answer {
        match &self.kind {
            Kind::All(list) if list.is_empty() => Answer::No,
            Kind::All(list) => all(list.iter().map(|test| test.at_best(facts, hoped))),
            Kind::Any(list) => not(all(list.iter().map(|test| not(test.at_best(facts, hoped))))),
            // What makes a denial no denial is the contrary.
            Kind::Not(inner) => not(inner.at_best(facts, not(hoped))),
            _ => match self.written {
                Condition::Mfa | Condition::MaxAge(_) | Condition::Scope(_) => plain(&self.written, facts),
                _ => hoped,
            },
        }
    }

    fn failure(&self, facts: &Facts<'_>) -> Failure {
        let code = match &self.written {
            Condition::Permission(code)
            | Condition::Role(code)
            | Condition::Group(code)
            | Condition::OrgRole(code)
            | Condition::OrgPermission(code) => Some(code.clone()),
            _ => None,
        };
        let within = match self.written {
            Condition::MaxAge(within) => Some(within),
            _ => None,
        };
        let missing = code.into_iter().collect();
        let mut failure = Failure { condition: self.written.name(), missing, within };
        if let Kind::All(list) | Kind::Any(list) = &self.kind {
            let mut inside =
                list.iter().filter(|test| test.answer(facts) == Answer::No).map(|test| test.failure(facts));
            if matches!(self.kind, Kind::All(_))
                && let Some(first) = inside.next()
            {
                failure = first;
            }
            failure.missing.extend(inside.flat_map(|failure| failure.missing));
        }
        failure
    }

    fn explain(&self, facts: &Facts<'_>) -> Explained {
        let inside = match &self.kind {
            Kind::All(list) | Kind::Any(list) => list.iter().map(|test| test.explain(facts)).collect(),
            Kind::Not(inner) => vec![inner.explain(facts)],
            _ => Vec::new(),
        };
        Explained { condition: self.written.to_string(), answer: self.answer(facts), inside }
    }
}

/// One no is a no; else one unknown is unknown, for the first reason in the order of [`Why`].
fn all(answers: impl Iterator<Item = Answer>) -> Answer {
    let mut unknown: Option<Why> = None;
    for answer in answers {
        match answer {
            Answer::No => return Answer::No,
            Answer::Unknown(why) => unknown = Some(unknown.map_or(why, |other| other.min(why))),
            Answer::Yes => {}
        }
    }
    unknown.map_or(Answer::Yes, Answer::Unknown)
}

const fn not(answer: Answer) -> Answer {
    match answer {
        Answer::Yes => Answer::No,
        Answer::No => Answer::Yes,
        unknown @ Answer::Unknown(_) => unknown,
    }
}

const fn yes_if(is_so: bool) -> Answer {
    if is_so { Answer::Yes } else { Answer::No }
}

/// Without a caller every question about the caller is unknown, so that `not` opens nothing.
fn of_caller(facts: &Facts<'_>, is_so: impl FnOnce(&Caller<'_>) -> bool) -> Answer {
    facts.caller.as_ref().map_or(Answer::Unknown(Why::NotSignedIn), |caller| yes_if(is_so(caller)))
}

fn in_organization(facts: &Facts<'_>, is_so: impl FnOnce(Option<&Code>, &[Code]) -> bool) -> Answer {
    of_organization(facts, |organization| match organization {
        Organization::Named { here, above, .. } => is_so(*here, above),
        Organization::NotNamed | Organization::Silent => false,
    })
}

/// Asked of nobody and of no organization, a question about one is unknown.
fn of_organization(facts: &Facts<'_>, is_so: impl FnOnce(&Organization<'_>) -> bool) -> Answer {
    match &facts.organization {
        _ if facts.caller.is_none() => Answer::Unknown(Why::NotSignedIn),
        Organization::NotNamed => Answer::Unknown(Why::NoOrganization),
        Organization::Silent => Answer::Unknown(Why::StoreSilent),
        named @ Organization::Named { .. } => yes_if(is_so(named)),
    }
}

/// Whether the caller's credential reaches what the caller is in an organization: a narrowed one no role,
/// and of what a role permits what it names.
fn reaches(facts: &Facts<'_>, condition: &Condition) -> bool {
    let reach = facts.caller.as_ref().and_then(|caller| caller.reach);
    reach.is_none_or(|reach| match condition {
        Condition::OrgPermission(code) => reach.holds_code(code),
        _ => false,
    })
}

fn plain(condition: &Condition, facts: &Facts<'_>) -> Answer {
    let is = |role: &Code, name: &str| role.as_str() == name;
    match condition {
        Condition::SignedIn => of_caller(facts, |_| true),
        Condition::Staff => of_caller(facts, |caller| caller.is_staff),
        Condition::Superuser => of_caller(facts, |caller| caller.rights.is_superuser),
        Condition::VerifiedEmail => of_caller(facts, |caller| caller.is_email_verified),
        Condition::VerifiedPhone => of_caller(facts, |caller| caller.is_phone_verified),
        Condition::MaxAge(span) => {
            of_caller(facts, |caller| facts.now.since(caller.authenticated_at) <= *span)
        }
        Condition::Owner(name) => of_caller(facts, |caller| {
            (facts.param)(name).is_some_and(|value| value.parse::<Id>() == Ok(caller.id))
        }),
        Condition::OrgMember => in_organization(facts, |here, _| here.is_some()),
        Condition::OrgOwner => in_organization(facts, |here, _| {
            reaches(facts, condition) && here.is_some_and(|role| is(role, seed::OWNER))
        }),
        Condition::OrgAdmin => in_organization(facts, |here, above| {
            reaches(facts, condition)
                && (here.is_some_and(|role| is(role, seed::OWNER))
                    || here.into_iter().chain(above).any(|role| is(role, seed::ADMIN)))
        }),
        Condition::Application(Named::Any) => yes_if(facts.application.is_some()),
        Condition::Application(Named::Name(name)) => yes_if(facts.application == Some(name)),
        Condition::Mfa => of_caller(facts, |caller| caller.second_factor_at.is_some()),
        // No token has a scope yet.
        Condition::Scope(_) => of_caller(facts, |_| false),
        Condition::OrgPlan(wanted) => of_organization(
            facts,
            |organization| matches!(organization, Organization::Named { plan, .. } if plan == wanted),
        ),
        Condition::OrgStatus(wanted) => of_organization(
            facts,
            |organization| matches!(organization, Organization::Named { status, .. } if status == wanted),
        ),
        // The others have a kind of their own; closed if ever asked here.
        _ => Answer::No,
    }
}

#[cfg(test)]
mod tests;
