//! `portcullis coverage`: what no test asks about, and permissions that mean nothing.
//!
//! Law: a permission is held by whoever was granted it, a parent of it, or a role or group that brings it;
//! superusers hold everything and count for nothing here. It is used where a route, an agent's rule or an
//! endpoint of the gateway asks for it or for one below it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Case, read_all};
use crate::cli::office::Office;
use crate::cli::open;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::config::Config;
use crate::policy::allow::{Allow, Condition};
use crate::policy::definition::Definitions;
use crate::policy::{Catalogue, Code};
use crate::rbac;
use crate::server;

/// Say which routes no test asks about, and which permissions nobody holds or nothing asks for
///
/// Exit code 0 when there is nothing to say, 1 when there is.
#[derive(clap::Args, Debug)]
pub struct Coverage {
    /// YAML files with tests, as `portcullis test` reads them
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    json: AsJson,
}

/// What is missing, each sorted.
struct Gaps {
    untested: Vec<String>,
    unheld: Vec<String>,
    unused: Vec<String>,
}

impl Coverage {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let cases = read_all(&self.files)?;
        let gaps = open::block_on(async {
            let office = Office::open(path).await?;
            Gaps::of(&office, &cases).await
        })?;
        let Gaps { untested, unheld, unused } = &gaps;
        match self.json.format() {
            Format::Json => out.json(&json!({
                "routes_without_test": untested,
                "permissions_nobody_holds": unheld,
                "permissions_nothing_asks_for": unused,
            }))?,
            Format::Text => {
                for (what, all) in [
                    ("no test asks about the route", untested),
                    ("nobody holds the permission", unheld),
                    ("nothing asks for the permission", unused),
                ] {
                    all.iter().try_for_each(|name| out.line(format_args!("{what} {name}")))?;
                }
            }
        }
        if untested.is_empty() && unheld.is_empty() && unused.is_empty() {
            Ok(())
        } else {
            Err(Failure::Told)
        }
    }
}

impl Gaps {
    async fn of(office: &Office, cases: &[Case]) -> Result<Self, Failure> {
        let config = office.app.config();
        let gate = server::open_gate(&office.app, &config).map_err(Failure::problem)?;
        let mut tested = BTreeSet::new();
        for case in cases {
            tested.extend(case.ask(office, &gate).await?.route);
        }
        let names = config.routes.iter().map(|route| route.name.clone());
        let mut untested: Vec<String> = names.filter(|name| !tested.contains(name)).collect();
        untested.sort();
        let all = office.definitions().await?;
        let held = held(office, &all).await?;
        let used = with_parents(&all, asked_for(&config));
        let lacking = |known: &BTreeSet<Code>| {
            let codes = all.permissions.keys().filter(|code| !known.contains(*code));
            codes.map(ToString::to_string).collect()
        };
        Ok(Self { untested, unheld: lacking(&held), unused: lacking(&used) })
    }
}

/// Every permission that somebody was given, in whatever way.
async fn held(office: &Office, all: &Definitions) -> Result<BTreeSet<Code>, Failure> {
    let catalogue = Catalogue::build(all.clone(), 0);
    let mut held = BTreeSet::new();
    for one in rbac::holders(&office.app.db).await? {
        held.extend(rbac::brought_by(&catalogue, &one.granted).codes());
    }
    Ok(held)
}

/// Every permission that something asks for by its code.
fn asked_for(config: &Config) -> BTreeSet<Code> {
    let mut asked: BTreeSet<Code> = server::permissions_asked();
    for route in &config.routes {
        if let Allow::When(condition) = &route.allow {
            condition.visit(&mut |condition| match condition {
                Condition::Permission(code) | Condition::OrgPermission(code) => {
                    _ = asked.insert(code.clone());
                }
                _ => {}
            });
        }
        asked.extend(route.agents.iter().map(|agents| agents.permission.clone()));
    }
    asked
}

/// The same with the parents of each: who holds those holds them.
fn with_parents(all: &Definitions, mut codes: BTreeSet<Code>) -> BTreeSet<Code> {
    let mut last: Vec<Code> = codes.iter().cloned().collect();
    while let Some(code) = last.pop() {
        let parent = all.permissions.get(&code).and_then(|own| own.parent.clone());
        if let Some(parent) = parent.filter(|parent| codes.insert(parent.clone())) {
            last.push(parent);
        }
    }
    codes
}
