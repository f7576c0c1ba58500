//! `portcullis explain METHOD PATH`: whether a request would pass, and which condition says no.
//!
//! Law: the gate's own judges answer, as the store and the configuration are now; nothing is
//! sent, counted or changed.

use std::path::Path;
use std::sync::Arc;

use ::http::Method;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::account::Reference;
use crate::agent;
use crate::application;
use crate::gate::target::{BadTarget, CanonicalTarget};
use crate::gate::{Explanation, Question, explain};
use crate::policy::judge::{Answer, Explained};
use crate::server;
use crate::store::DEFAULT_SITE;

/// Say whether a request would pass, and which condition says no
///
/// Exit code 0 when it would be forwarded, or wait for people first, 1 when it would be refused.
#[derive(clap::Args, Debug)]
pub struct Explain {
    /// Who asks: e-mail address, phone number, user name, number or id; nobody if absent
    #[arg(long = "as", value_name = "USER")]
    who: Option<Reference>,
    /// The agent token that asks, on its human's behalf: its number or id
    #[arg(long, value_name = "TOKEN", conflicts_with = "who")]
    agent: Option<agent::Reference>,
    /// The organization that the request names in X-Org-Slug
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// The application whose keys come with the request
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// What an agent would send, as JSON: some of it may wait for people, or cost
    #[arg(long, value_name = "JSON", requires = "agent")]
    body: Option<String>,
    /// The host that is asked; that of `public_url` if absent
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Such as GET
    method: Method,
    /// Such as /reports/7?page=2
    path: String,
    #[command(flatten)]
    json: AsJson,
}

impl Explain {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let told = open::block_on(async {
            let office = Office::open(path).await?;
            self.ask(&office).await
        })?;
        match self.json.format() {
            Format::Json => out.json(&as_json(&told))?,
            Format::Text => out.line(told.to_string().trim_end())?,
        }
        if told.refusal.is_none() { Ok(()) } else { Err(Failure::Told) }
    }

    async fn ask(&self, office: &Office) -> Result<Explanation, Failure> {
        let (app, config) = (&office.app, office.app.config());
        let target = CanonicalTarget::parse(self.path.as_bytes(), server::rules(&config).target);
        let target = target.map_err(|bad| Failure::usage(unreadable(bad)))?;
        let account = match &self.who {
            Some(reference) => Some(office.person(reference).await?),
            None => None,
        };
        let application = match &self.app {
            Some(name) => match application::find(&app.db, DEFAULT_SITE, name).await? {
                Some(found) if found.is_active => Some(Arc::new(found.facts())),
                Some(_) => return Err(Failure::problem("the application is disabled")),
                None => {
                    return Err(Failure::problem(
                        "there is no such application; `portcullis app list` shows them",
                    ));
                }
            },
            None => None,
        };
        let agent = match self.agent {
            Some(reference) => Some(office.agent_token(reference).await?),
            None => None,
        };
        let question = Question {
            method: self.method.clone(),
            host: self.host.as_deref().unwrap_or(&config.public_url.host),
            target,
            account: account.as_ref(),
            imagined: None,
            agent: agent.as_ref(),
            organization: self.org.as_deref(),
            application,
            body: self.body.as_ref().map(String::as_bytes),
        };
        let gate = server::open_gate(app, &config).map_err(Failure::problem)?;
        Ok(explain(&gate, &question).await?)
    }
}

fn unreadable(bad: BadTarget) -> String {
    format!(
        "the gateway answers such a path with 400 ({bad:?}): write it as a client sends it, from the first /"
    )
}

fn as_json(told: &Explanation) -> Value {
    let steps = told.steps.iter();
    json!({
        "passes": told.refusal.is_none(),
        "steps": steps
            .map(|step| json!({"name": step.name, "passed": step.is_passed, "detail": step.detail}))
            .collect::<Value>(),
        "policy": told.policy.as_ref().map(condition),
        "waits": told.waits.name(),
        "refusal": told.refusal.as_ref().map(|refusal| json!({
            "status": refusal.status().as_u16(),
            "code": refusal.code(),
            "failed": refusal.failed(),
            "missing": refusal.missing().iter().map(ToString::to_string).collect::<Value>(),
            "remedy": refusal.remedy(),
        })),
    })
}

fn condition(own: &Explained) -> Value {
    let answer = match own.answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown(_) => "unknown",
    };
    json!({
        "condition": own.condition, "answer": answer,
        "inside": own.inside.iter().map(condition).collect::<Value>(),
    })
}
