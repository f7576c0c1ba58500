//! What decisions are made by: one configuration, one catalogue, and the routes compiled with both.
//!
//! Law: swapped as one value; a request keeps the one it started with, so route, policy and rights
//! always belong together. The gateway's own paths come first and are its own whole: what no
//! endpoint of ours has there is nothing, whatever the routes say.

use std::sync::Arc;

use ::http::{HeaderValue, Method};

use super::cors::Cors;
use super::route::Route;
use crate::config::{self, Config};
use crate::http::{self, Row};
use crate::metrics::Metrics;
use crate::policy::table::{Clash, Entry, Found, Params, Table};
use crate::policy::{Catalogue, Pattern};

/// A configuration in force.
#[derive(Debug)]
pub struct World {
    pub config: Arc<Config>,
    pub catalogue: Arc<Catalogue>,
    /// For the gateway's own endpoints.
    pub(super) cors: Cors,
    built_in: Arc<http::Table>,
    own: Vec<Pattern>,
    routes: Table<Arc<Route>>,
}

/// What a request is for.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one request; a box would be an allocation"
)]
pub(super) enum Target<'w, 'p> {
    BuiltIn(&'w Row, Vec<(&'static str, String)>),
    Route(&'w Arc<Route>, Params<'w, 'p>),
    /// The path is known, the method is not.
    WrongMethod(HeaderValue),
    Nothing,
}

impl World {
    pub(super) fn new(
        config: Arc<Config>,
        catalogue: Arc<Catalogue>,
        built_in: Arc<http::Table>,
        metrics: &Metrics,
    ) -> Result<Self, Vec<Clash>> {
        let own = config::own_paths(&config.api.prefix);
        let entries = config.routes.iter().map(|rule| Entry {
            host: rule.host.clone(),
            pattern: rule.path.clone(),
            methods: rule.methods,
            value: Arc::new(Route::new(rule, &config, &catalogue, &own, metrics.route(&rule.name))),
        });
        let routes = Table::build(entries)?;
        Ok(Self { cors: Cors::new(&config.cors), config, catalogue, built_in, own, routes })
    }

    /// The same configuration under another catalogue.
    pub(super) fn with_catalogue(
        &self,
        catalogue: Arc<Catalogue>,
        metrics: &Metrics,
    ) -> Result<Self, Vec<Clash>> {
        Self::new(Arc::clone(&self.config), catalogue, Arc::clone(&self.built_in), metrics)
    }

    /// The gateway's own endpoints.
    pub fn built_in(&self) -> &http::Table {
        &self.built_in
    }

    /// What a request is for: host, then path, then method.
    pub(super) fn find<'w, 'p>(&'w self, host: &str, path: &'p str, method: &Method) -> Target<'w, 'p> {
        match self.built_in.find(method, path) {
            http::Found::Row(row, params) => return Target::BuiltIn(row, params),
            http::Found::OtherMethods(names) => return Target::WrongMethod(allow_of(&names)),
            http::Found::Nothing => {}
        }
        match self.routes.find(host, path, method) {
            Found::Entry(route, params) if !(route.is_beside_own_paths && self.is_own(path)) => {
                Target::Route(route, params)
            }
            Found::WrongMethod(methods) if !self.is_own(path) => {
                Target::WrongMethod(allow_of(&methods.to_string()))
            }
            _ => Target::Nothing,
        }
    }

    fn is_own(&self, path: &str) -> bool {
        self.own.iter().any(|own| own.matches(path))
    }
}

fn allow_of(names: &str) -> HeaderValue {
    HeaderValue::from_str(names).unwrap_or_else(|_| HeaderValue::from_static(""))
}
