//! `portcullis routes`: what may pass and who may send it, one line per route, in the order of the
//! file. Which route wins does not depend on that order.

use std::path::Path;

use serde_json::{Value, json};

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::config::{Config, Hold, HoldWord, Route};

/// List the routes: what they match, where they lead, and which people and agents may pass
#[derive(clap::Args, Debug)]
pub struct Routes {
    #[command(flatten)]
    json: AsJson,
}

impl Routes {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = open::config(path)?;
        let config = &loaded.config;
        let routes = config.routes.iter();
        match self.json.format() {
            Format::Json => out.json(&routes.map(|route| as_json(route, config)).collect::<Value>()),
            Format::Text => out.table(
                ["route", "methods", "path", "upstream", "allow", "browser", "agents"],
                &routes.map(|route| row(route, config)).collect::<Vec<_>>(),
            ),
        }
    }
}

fn host(route: &Route) -> String {
    route.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// What agents need, and what becomes of their requests: empty where none passes.
fn agents(route: &Route, config: &Config) -> String {
    let Some(agents) = &route.agents else { return String::new() };
    let held = match &agents.hold {
        Hold::Word(HoldWord::Never) if !config.agents.confirm.contains(&agents.permission) => "",
        Hold::Word(_) => ", held",
        Hold::When(_) => ", some held",
    };
    let cost = if agents.cost.is_some() { ", costs" } else { "" };
    format!("permission {}{held}{cost}", agents.permission)
}

fn row(route: &Route, config: &Config) -> [String; 7] {
    [
        route.name.clone(),
        route.methods.to_string().replace(", ", ","),
        format!("{}{}", host(route), route.path.as_str()),
        route.upstream.clone(),
        route.allow.to_string(),
        if route.browser { "yes".to_owned() } else { String::new() },
        agents(route, config),
    ]
}

fn as_json(route: &Route, config: &Config) -> Value {
    json!({
        "name": route.name,
        "host": route.host.as_ref().map(ToString::to_string),
        "path": route.path.as_str(),
        "methods": route.methods.names().collect::<Vec<_>>(),
        "upstream": route.upstream,
        "allow": route.allow.to_string(),
        "browser": route.browser,
        "agents": route.agents.as_ref().map(|_| agents(route, config)),
    })
}
