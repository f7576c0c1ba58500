//! Tables of decisions: what a file says that requests must come to, and what they come to.
//!
//! Law: the gate's own judges answer, as for `explain`; nothing is sent, counted or changed. A table that
//! cannot mean what it says (a name that nothing defines, a user who is not there) is wrong usage, never a
//! test that fails or passes.

mod coverage;
mod test;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::http::Method;
use serde::Deserialize;
use serde_json::Value;

pub use coverage::Coverage;
pub use test::Test;

use super::office::Office;
use super::out::Failure;
use crate::account::{Account, Reference};
use crate::agent::{self, AgentToken};
use crate::application;
use crate::base::{Id, Number, Slug};
use crate::config;
use crate::gate::{CanonicalTarget, Explanation, Gate, Person, Question, Waits, explain};
use crate::organization;
use crate::policy::definition::Definitions;
use crate::policy::{Assignments, Code};
use crate::principal::{AccountFacts, ApplicationFacts, Membership, SessionFacts};
use crate::server;
use crate::store::DEFAULT_SITE;

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    tests: Vec<Case>,
}

/// One request, who sends it, and what becomes of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// `GET /reports/7`.
    request: String,
    host: Option<String>,
    /// What `X-Org-Slug` says.
    org: Option<String>,
    /// The application whose keys come along.
    app: Option<String>,
    /// What an agent would send.
    body: Option<Value>,
    /// Somebody of the store.
    #[serde(rename = "as")]
    who: Option<String>,
    /// Somebody who is nowhere, and holds what is said here.
    principal: Option<Imagined>,
    /// An agent token of the store, by number or id.
    agent: Option<String>,
    expect: Verdict,
    status: Option<u16>,
    code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Imagined {
    id: Option<Id>,
    permissions: Vec<Code>,
    roles: Vec<Code>,
    groups: Vec<Code>,
    /// What they are in organizations of the store, by slug.
    orgs: BTreeMap<String, Code>,
    superuser: bool,
    staff: bool,
    verified: Vec<Verified>,
    /// Whether a second factor was proved.
    mfa: bool,
    /// Since when they have not proved who they are, in seconds.
    age: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verified {
    Email,
    Phone,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Pass,
    /// It waits for people.
    Wait,
    Refuse,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Wait => "wait",
            Self::Refuse => "refuse",
        }
    }
}

/// What stands behind the words of a case, found in the store.
struct Found {
    method: Method,
    target: CanonicalTarget,
    account: Option<Account>,
    agent: Option<AgentToken>,
    application: Option<Arc<ApplicationFacts>>,
    person: Option<Person>,
    body: Option<Vec<u8>>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, Failure> {
        let told = |cause: &dyn std::fmt::Display| Failure::usage(format!("{}: {cause}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        let table: Self = config::read_yaml(&text).map_err(|problem| {
            let hint = if text.contains("tests:") { "" } else { ": a file of tests begins with `tests:`" };
            told(&format!("{problem}{hint}"))
        })?;
        for (at, case) in table.tests.iter().enumerate() {
            if table.tests[..at].iter().any(|other| other.name == case.name) {
                return Err(told(&format!("two tests are called `{}`", case.name)));
            }
            case.check().map_err(|cause| told(&format!("`{}`: {cause}", case.name)))?;
        }
        if table.tests.is_empty() { Err(told(&"there are no tests in it")) } else { Ok(table) }
    }
}

impl Case {
    fn check(&self) -> Result<(), &'static str> {
        let named = [self.who.is_some(), self.principal.is_some(), self.agent.is_some()];
        if named.into_iter().filter(|is_named| *is_named).count() > 1 {
            return Err("one of `as`, `principal` and `agent`: who asks is one");
        }
        if self.expect != Verdict::Refuse && (self.status.is_some() || self.code.is_some()) {
            return Err("`status` and `code` are of refusals: say `expect: refuse`");
        }
        if self.body.is_some() && self.agent.is_none() {
            return Err("`body` is looked at where an `agent` asks");
        }
        Ok(())
    }

    /// What the gate says.
    async fn ask(&self, office: &Office, gate: &Gate) -> Result<Explanation, Failure> {
        let found = self.find(office).await.map_err(|failure| match failure {
            Failure::Problem(text) | Failure::Usage(text) => {
                Failure::usage(format!("`{}`: {text}", self.name))
            }
            other => other,
        })?;
        let config = office.app.config();
        let question = Question {
            method: found.method,
            host: self.host.as_deref().unwrap_or(&config.public_url.host),
            target: found.target,
            account: found.account.as_ref(),
            imagined: found.person.as_ref(),
            agent: found.agent.as_ref(),
            organization: self.org.as_deref(),
            application: found.application,
            body: found.body.as_deref(),
        };
        Ok(explain(gate, &question).await?)
    }

    async fn find(&self, office: &Office) -> Result<Found, Failure> {
        let (app, config) = (&office.app, office.app.config());
        let (method, path) = self
            .request
            .split_once(' ')
            .ok_or_else(|| Failure::usage("`request` is a method and a path, such as `GET /reports/7`"))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(Failure::usage)?;
        let target = CanonicalTarget::parse(path.trim().as_bytes(), server::rules(&config).target);
        let target =
            target.map_err(|bad| Failure::usage(format!("no gateway takes such a path ({bad:?})")))?;
        let account = match &self.who {
            Some(text) => Some(office.person(&text.parse::<Reference>().map_err(Failure::usage)?).await?),
            None => None,
        };
        let agent = match &self.agent {
            Some(text) => {
                Some(office.agent_token(text.parse::<agent::Reference>().map_err(Failure::usage)?).await?)
            }
            None => None,
        };
        let application = match &self.app {
            Some(name) => {
                let found = application::find(&app.db, DEFAULT_SITE, name).await?.filter(|own| own.is_active);
                let none = || Failure::problem(format_args!("there is no application `{name}` in use"));
                Some(Arc::new(found.ok_or_else(none)?.facts()))
            }
            None => None,
        };
        let person = match &self.principal {
            Some(own) => Some(own.person(office).await?),
            None => None,
        };
        let body = self.body.as_ref().map(|body| body.to_string().into_bytes());
        Ok(Found { method, target, account, agent, application, person, body })
    }
}

impl Imagined {
    /// Somebody who is nowhere, as the gate would know them.
    async fn person(&self, office: &Office) -> Result<Person, Failure> {
        self.check(&office.definitions().await?)?;
        let now = office.app.now();
        let proved = now.minus(std::time::Duration::from_secs(self.age));
        let id = self.id.unwrap_or_else(|| office.app.new_id());
        let mut memberships = Vec::new();
        for (slug, role) in &self.orgs {
            let slug = Slug::parse(slug).map_err(Failure::usage)?;
            let own = organization::by_slug(&office.app.db, DEFAULT_SITE, &slug).await?;
            let none = || Failure::problem(format_args!("there is no organization `{slug}`"));
            let own = own.ok_or_else(none)?;
            let (organization, number) = (own.id, own.number);
            memberships.push(Membership { organization, number, slug: own.slug, role: role.clone() });
        }
        Ok(Person {
            account: AccountFacts {
                id,
                number: Number(0),
                site: DEFAULT_SITE,
                email: None,
                phone: None,
                username: None,
                first_name: String::new(),
                last_name: String::new(),
                is_staff: self.staff,
                is_superuser: self.superuser,
                is_email_verified: self.verified.contains(&Verified::Email),
                is_phone_verified: self.verified.contains(&Verified::Phone),
                has_second_factor: self.mfa,
            },
            session: SessionFacts {
                sid: Id::from_u128(0),
                started_at: proved,
                authenticated_at: proved,
                second_factor_at: self.mfa.then_some(proved),
                method: "test",
                application: None,
                scope: None,
                ends_at: now,
            },
            assignments: Assignments {
                roles: self.roles.clone(),
                permissions: self.permissions.clone(),
                groups: self.groups.clone(),
                is_superuser: self.superuser,
            },
            scopes: None,
            memberships,
        })
    }

    fn check(&self, all: &Definitions) -> Result<(), Failure> {
        let known = [
            ("permission", self.permissions.iter().find(|code| !all.permissions.contains_key(*code))),
            ("role", self.roles.iter().find(|code| !all.roles.contains_key(*code))),
            ("group", self.groups.iter().find(|code| !all.groups.contains_key(*code))),
            ("role of organizations", self.orgs.values().find(|code| !all.org_roles.contains_key(*code))),
        ];
        match known.into_iter().find_map(|(kind, code)| Some((kind, code?))) {
            Some((kind, code)) => Err(Failure::usage(format!("nothing defines the {kind} `{code}`"))),
            None => Ok(()),
        }
    }
}

/// What became of a request; `None` where that depends on a body that is not said.
fn verdict_of(told: &Explanation) -> Option<Verdict> {
    match (&told.refusal, told.waits) {
        (Some(_), _) => Some(Verdict::Refuse),
        (None, Waits::No) => Some(Verdict::Pass),
        (None, Waits::Yes) => Some(Verdict::Wait),
        (None, Waits::ByBody) => None,
    }
}

/// Every table that is named.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Case>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(Table::read(path)?.tests);
    }
    Ok(all)
}
