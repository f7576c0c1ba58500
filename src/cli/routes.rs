//! `portcullis routes`: what may pass and who may send it, one line per route, in the order of the
//! file. Which route wins does not depend on that order.

use std::path::Path;

use serde_json::{Value, json};

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::config::Route;

/// List the routes: what they match, where they lead, and who may pass
#[derive(clap::Args, Debug)]
pub struct Routes {
    #[command(flatten)]
    json: AsJson,
}

impl Routes {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = open::config(path)?;
        let routes = loaded.config.routes.iter();
        match self.json.format() {
            Format::Json => out.json(&routes.map(as_json).collect::<Value>()),
            Format::Text => out.table(
                ["route", "methods", "path", "upstream", "allow"],
                &routes.map(row).collect::<Vec<_>>(),
            ),
        }
    }
}

fn host(route: &Route) -> String {
    route.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn row(route: &Route) -> [String; 5] {
    [
        route.name.clone(),
        route.methods.to_string().replace(", ", ","),
        format!("{}{}", host(route), route.path.as_str()),
        route.upstream.clone(),
        route.allow.to_string(),
    ]
}

fn as_json(route: &Route) -> Value {
    json!({
        "name": route.name,
        "host": route.host.as_ref().map(ToString::to_string),
        "path": route.path.as_str(),
        "methods": route.methods.names().collect::<Vec<_>>(),
        "upstream": route.upstream,
        "allow": route.allow.to_string(),
    })
}
