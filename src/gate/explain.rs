//! Why a request would pass or not: the judges of the pipeline, asked one after the other.
//!
//! Law: nothing is counted, used up, read from a request or written; the answer is the pipeline's,
//! because the same judges give it. Every condition is shown with its own answer.

mod after;
mod agent;

use std::fmt;
use std::sync::Arc;

use ::http::Method;

use super::authorize::{Asked, authorize, organization_of};
use super::hold::Waits;
use super::permit::Organization;
use super::person::Snapshot;
use super::rejection::{Flaw, Rejection};
use super::route::{CredentialUse, Route};
use super::slices::person_of;
use super::world::{Target, World};
use super::{CanonicalTarget, Gate, Person, application, rewrite};
use crate::account::{Account, Standing};
use crate::agent::AgentToken;
use crate::base::Id;
use crate::policy::Code;
use crate::policy::judge::{Answer, Explained};
use crate::policy::table::Params;
use crate::principal::{ApplicationFacts, SessionFacts};
use crate::store::Error;

/// The step that shows every condition of the policy.
const POLICY: &str = "policy";

/// What would be asked, and by whom.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub method: Method,
    pub host: &'a str,
    pub target: CanonicalTarget,
    /// `None`: nobody is signed in.
    pub account: Option<&'a Account>,
    /// Somebody who is in no store, instead.
    pub imagined: Option<&'a Person>,
    /// Who asks on its human's behalf; then nobody is signed in.
    pub agent: Option<&'a AgentToken>,
    /// The slug that the request would name.
    pub organization: Option<&'a str>,
    pub application: Option<Arc<ApplicationFacts>>,
    /// What an agent would send, as JSON, where that is known.
    pub body: Option<&'a [u8]>,
}

/// What came of it, step by step.
#[derive(Debug)]
pub struct Explanation {
    /// The route of the configuration that was found.
    pub route: Option<String>,
    pub steps: Vec<Step>,
    /// The policy with every condition; `None` where anyone may pass or no route was found.
    pub policy: Option<Explained>,
    /// `None`: the request would be forwarded, or wait for people first.
    pub refusal: Option<Rejection>,
    /// Whether it would wait for people, if it is not refused.
    pub waits: Waits,
}

/// One step of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    pub is_passed: bool,
    pub detail: String,
}

/// Asks the judges.
///
/// # Errors
/// The store's, where it does not say who the account is.
pub async fn explain(gate: &Gate, question: &Question<'_>) -> Result<Explanation, Error> {
    let world = gate.world();
    let mut told =
        Explanation { route: None, steps: Vec::new(), policy: None, refusal: None, waits: Waits::No };
    let path = question.target.path().to_owned();
    let outcome = match world.find(question.host, &path, &question.method) {
        Target::Route(route, params) => {
            let rule = &route.rule;
            told.route = Some(rule.name.clone());
            told.pass(
                "route",
                format!("{} ({} {}) to {}", rule.name, rule.methods, rule.path, rule.upstream),
            );
            of_route(gate, &world, question, route, &params, &mut told).await?
        }
        Target::BuiltIn(row, _) => {
            told.pass("route", format!("the gateway's own {row:?}"));
            Ok(())
        }
        Target::WrongMethod(allow) => {
            // The most specific path decides, and a wider one with the right method is not asked.
            let most = most_specific(&world, question.host, &path);
            if !most.is_empty() {
                told.pass("path", format!("most specific for it: {}", most.join("; ")));
            }
            Err(Rejection::MethodNotAllowed { allow })
        }
        Target::Ambiguous => Err(Rejection::Malformed(Flaw::Target)),
        Target::Nothing => Err(Rejection::NoRoute),
    };
    if let Err(refusal) = outcome {
        told.fail(&refusal);
    }
    Ok(told)
}

/// The routes that this path is for, each once, with what they take.
fn most_specific(world: &World, host: &str, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    for route in rewrite::routes_at(world, host, path) {
        let one = format!("{} ({} {})", route.rule.name, route.rule.methods, route.rule.path);
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

async fn of_route(
    gate: &Gate,
    world: &Arc<World>,
    question: &Question<'_>,
    route: &Arc<Route>,
    params: &Params<'_, '_>,
    told: &mut Explanation,
) -> Result<Result<(), Rejection>, Error> {
    if !question.target.fits(route.target_rules(world)) {
        return Ok(Err(Rejection::Malformed(Flaw::Target)));
    }
    if let Some(token) = question.agent {
        return agent::explain(gate, world, question, token, (route, params), told).await;
    }
    if let Err(refusal) = application::check_required(route, question.application.as_deref()) {
        return Ok(Err(refusal));
    }
    let account = question.account.filter(|_| route.credential != CredentialUse::Ignored);
    let caller = match account {
        None => None,
        Some(account) if account.standing(gate.app.now()) != Standing::Good => {
            return Ok(Err(Rejection::TokenInvalid));
        }
        Some(account) => Some(snapshot_of(gate, world, account).await?),
    };
    let imagined = question.imagined.filter(|_| route.credential != CredentialUse::Ignored);
    let caller = match imagined {
        Some(person) => Some(Arc::new(Snapshot::imagined(person.clone(), &world.catalogue))),
        None => caller,
    };
    let known = caller.as_ref().map(|caller| format!("account {}", caller.principal.account.id));
    told.pass("caller", known.unwrap_or_else(|| "nobody".to_owned()));
    let organization = match &caller {
        Some(caller) => match organization_of(gate, world, caller, question.organization).await {
            Ok(organization) => organization,
            Err(refusal) => return Ok(Err(refusal)),
        },
        None => None,
    };
    if let Some(organization) = &organization {
        told.pass("organization", standing_of(organization));
    }
    let asked = Asked {
        route,
        params,
        caller: caller.as_ref(),
        organization: organization.as_ref(),
        application: question.application.as_ref(),
        now: gate.app.now(),
        agent: None,
    };
    told.policy = asked.with_facts(|facts| route.allow.explain(facts));
    let permit = match authorize(world, &asked) {
        Ok(permit) => permit,
        Err(refusal) => return Ok(Err(refusal)),
    };
    told.step(POLICY, permit.shadow().is_none(), route.rule.allow.to_string());
    let beyond = rewrite::check(world, &asked, question.host, question.target.path(), &question.method);
    Ok(match beyond {
        Ok(beyond) => {
            if let Some(reason) = permit.in_shadow(beyond).shadow() {
                told.pass("shadow", format!("{reason} is only counted: the route is in shadow mode"));
            }
            Ok(())
        }
        Err(refusal) => Err(refusal),
    })
}

fn standing_of(organization: &Organization) -> String {
    let context = &organization.context;
    let here = context.here.as_ref().map_or("not a direct member".to_owned(), |role| format!("{role} there"));
    let above: Vec<&str> = context.above.iter().map(Code::as_str).collect();
    if above.is_empty() { here } else { format!("{here}, {} above", above.join(", ")) }
}

/// The account as if it had just logged in.
async fn snapshot_of(gate: &Gate, world: &World, account: &Account) -> Result<Arc<Snapshot>, Error> {
    let now = gate.app.now();
    let session = SessionFacts {
        sid: Id::from_u128(0),
        started_at: now,
        authenticated_at: now,
        // A login asks for the second factor where there is one.
        second_factor_at: account.second_factor_at.map(|_| now),
        method: "explain",
        application: None,
        scope: None,
        ends_at: now,
    };
    let person = person_of(&gate.app, account, session).await?;
    Ok(Arc::new(Snapshot::imagined(person, &world.catalogue)))
}

impl Explanation {
    fn pass(&mut self, name: &'static str, detail: String) {
        self.steps.push(Step { name, is_passed: true, detail });
    }

    /// A step that may have failed; what follows from that is told at the end.
    fn step(&mut self, name: &'static str, is_passed: bool, detail: String) {
        self.steps.push(Step { name, is_passed, detail });
    }

    fn fail(&mut self, refusal: &Rejection) {
        let is_policys = refusal.failed().is_some() && !matches!(refusal, Rejection::Agent(_));
        let name = if is_policys { POLICY } else { "refused" };
        let missing: Vec<&str> = refusal.missing().iter().map(Code::as_str).collect();
        let failed = refusal.failed().map(|failed| format!(", failed: {failed}")).unwrap_or_default();
        let missing =
            if missing.is_empty() { missing.concat() } else { format!(", missing: {}", missing.join(", ")) };
        let detail = format!("{} {}{failed}{missing}", refusal.status().as_u16(), refusal.code());
        self.steps.push(Step { name, is_passed: false, detail });
        self.refusal = Some(refusal.clone());
    }
}

impl fmt::Display for Explanation {
    /// For a human: a line per step, the policy as a tree, and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The conditions stand below the step that asked them, or below what was said in its place.
        let mut policy = self.policy.as_ref();
        for step in &self.steps {
            let mark = if step.is_passed { "yes" } else { "no" };
            writeln!(f, "{mark:<8}{:<18}{}", step.name, step.detail)?;
            if step.name == POLICY {
                policy.take().map_or(Ok(()), |policy| tree(policy, 0, f))?;
            }
        }
        policy.map_or(Ok(()), |policy| tree(policy, 0, f))?;
        match &self.refusal {
            None => f.write_str(match self.waits {
                Waits::No => "The request would be forwarded.\n",
                Waits::Yes => {
                    "The request would wait for people (202), and be forwarded once they have approved it.\n"
                }
                Waits::ByBody => {
                    "The request would be forwarded, or wait for people: that depends on its body.\n"
                }
            }),
            Some(refusal) => writeln!(f, "{}. {}", refusal.text().trim_end_matches('.'), refusal.remedy()),
        }
    }
}

fn tree(policy: &Explained, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mark = match policy.answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown(_) => "unknown",
    };
    writeln!(f, "{mark:<8}{:indent$}{}", "", policy.condition, indent = 2 + 2 * depth)?;
    policy.inside.iter().try_for_each(|inside| tree(inside, depth + 1, f))
}
