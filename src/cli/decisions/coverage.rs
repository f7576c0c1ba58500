//! `portcullis coverage`: what no test asks about, and permissions that mean nothing.
//!
//! Law: a permission is held by whoever was granted it, a parent of it, or a role or group that brings it;
//! superusers hold everything and count for nothing here. It is used where a route, an agent's rule or an
//! endpoint of the gateway asks for it or for one below it. What came with the gateway nobody can remove:
//! it is counted, shown only where it is asked for, and never decides the exit code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, read_all};
use crate::cli::office::Office;
use crate::cli::open;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::config::Config;
use crate::policy::allow::{Allow, Condition};
use crate::policy::definition::{Definitions, ManagedBy};
use crate::policy::{Catalogue, Code};
use crate::rbac;
use crate::server;

/// Say which routes no test asks about, and which permissions nobody holds or nothing asks for
///
/// Exit code 0 when there is nothing to say, 1 when there is. Permissions that came with the gateway are only
/// counted, and do not decide it.
#[derive(clap::Args, Debug)]
pub struct Coverage {
    /// YAML files with tests, as `portcullis test` reads them
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show the permissions that came with the gateway, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: AsJson,
}

/// What is missing, each sorted.
struct Gaps {
    untested: Vec<String>,
    unheld: Split,
    unused: Split,
}

/// Permissions of the file and the store, and those that came with the gateway.
struct Split {
    own: Vec<String>,
    seeded: Vec<String>,
}

impl Coverage {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let cases = read_all(&self.files)?;
        let gaps = open::block_on(async {
            let office = Office::open(path).await?;
            Gaps::of(&office, &cases).await
        })?;
        match self.json.format() {
            Format::Json => out.json(&gaps.as_json(self.all))?,
            Format::Text => gaps.lines(self.all).iter().try_for_each(|line| out.line(line))?,
        }
        if gaps.is_clean() { Ok(()) } else { Err(Failure::Told) }
    }
}

impl Split {
    fn of(all: &Definitions, known: &BTreeSet<Code>) -> Self {
        let mut split = Self { own: Vec::new(), seeded: Vec::new() };
        for (code, permission) in all.permissions.iter().filter(|(code, _)| !known.contains(*code)) {
            let list = match permission.managed_by {
                ManagedBy::Seed => &mut split.seeded,
                ManagedBy::Store | ManagedBy::Config => &mut split.own,
            };
            list.push(code.to_string());
        }
        split
    }

    fn shown(&self, is_all: bool) -> Vec<&str> {
        let seeded = self.seeded.iter().filter(|_| is_all);
        let mut shown: Vec<&str> = self.own.iter().chain(seeded).map(String::as_str).collect();
        shown.sort_unstable();
        shown
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
        Ok(Self { untested, unheld: Split::of(&all, &held), unused: Split::of(&all, &used) })
    }

    fn is_clean(&self) -> bool {
        self.untested.is_empty() && self.unheld.own.is_empty() && self.unused.own.is_empty()
    }

    fn as_json(&self, is_all: bool) -> Value {
        json!({
            "routes_without_test": self.untested,
            "permissions_nobody_holds": self.unheld.shown(is_all),
            "permissions_nothing_asks_for": self.unused.shown(is_all),
            "of_the_gateway": {
                "nobody_holds": self.unheld.seeded.len(),
                "nothing_asks_for": self.unused.seeded.len(),
            },
        })
    }

    fn lines(&self, is_all: bool) -> Vec<String> {
        let untested = self.untested.iter().map(|name| format!("no test asks about the route {name}"));
        let unheld = self.unheld.shown(is_all);
        let unheld = unheld.iter().map(|code| format!("nobody holds the permission {code}"));
        let unused = self.unused.shown(is_all);
        let unused = unused.iter().map(|code| format!("nothing asks for the permission {code}"));
        let mut lines: Vec<String> = untested.chain(unheld).chain(unused).collect();
        let (held, asked) = (self.unheld.seeded.len(), self.unused.seeded.len());
        if !is_all && held + asked > 0 {
            lines.push(format!(
                "of the permissions that came with the gateway nobody holds {held}, and nothing asks for {asked} \
                 (`--all` shows them; they do not count)"
            ));
        }
        lines
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::definition::Permission;

    fn split() -> Split {
        let mut all = Definitions::default();
        for (code, managed_by) in [
            ("seeded", ManagedBy::Seed),
            ("filed", ManagedBy::Config),
            ("stored", ManagedBy::Store),
            ("known", ManagedBy::Config),
        ] {
            let (name, description) = (code.to_owned(), String::new());
            let own = Permission { name, description, parent: None, managed_by };
            all.permissions.insert(Code::parse(code).unwrap(), own);
        }
        Split::of(&all, &BTreeSet::from([Code::parse("known").unwrap()]))
    }

    #[test]
    fn what_came_with_the_gateway_is_counted_and_never_decides() {
        let both = split();
        assert_eq!(both.shown(false), ["filed", "stored"]);
        assert_eq!(both.shown(true), ["filed", "seeded", "stored"]);
        let gaps = Gaps { untested: Vec::new(), unheld: both, unused: split() };
        assert!(!gaps.is_clean());
        let seeded = || Split { own: Vec::new(), seeded: vec!["seeded".to_owned()] };
        let gaps = Gaps { untested: Vec::new(), unheld: seeded(), unused: seeded() };
        assert!(gaps.is_clean());
        assert_eq!(gaps.lines(false).len(), 1, "a count");
        assert!(gaps.lines(false)[0].contains("`--all`"));
        assert_eq!(
            gaps.lines(true),
            ["nobody holds the permission seeded", "nothing asks for the permission seeded"]
        );
        let told = gaps.as_json(false);
        assert_eq!(
            (&told["permissions_nobody_holds"], &told["of_the_gateway"]["nobody_holds"]),
            (&json!([]), &json!(1))
        );
    }
}
