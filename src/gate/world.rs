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
    /// A backend that decodes what need not be encoded would read another route's path.
    Ambiguous,
    Nothing,
}

impl World {
    pub(super) fn new(
        config: Arc<Config>,
        catalogue: Arc<Catalogue>,
        built_in: Arc<http::Table>,
        metrics: &Metrics,
    ) -> Result<Self, Vec<Clash>> {
        let own = config::own_paths(&config.api);
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

    /// What a request is for: host, then path, then method. A path that most backends read as
    /// another one is for something only if that one is for the same.
    pub(super) fn find<'w, 'p>(&'w self, host: &str, path: &'p str, method: &Method) -> Target<'w, 'p> {
        let found = self.find_spelled(host, path, method);
        match plainly(path) {
            Some(plain) if found.differs_from(&self.find_spelled(host, &plain, method)) => Target::Ambiguous,
            _ => found,
        }
    }

    fn find_spelled<'w, 'p>(&'w self, host: &str, path: &'p str, method: &Method) -> Target<'w, 'p> {
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

impl Target<'_, '_> {
    /// Whether the other one has a policy that this one has not. Where the other is nothing, nothing
    /// is led around.
    fn differs_from(&self, other: &Target<'_, '_>) -> bool {
        match (self, other) {
            (_, Target::Nothing) | (Target::Nothing | Target::WrongMethod(_), _) => false,
            (Target::BuiltIn(one, _), Target::BuiltIn(other, _)) => !std::ptr::eq(*one, *other),
            (Target::Route(one, _), Target::Route(other, _)) => !Arc::ptr_eq(one, other),
            _ => true,
        }
    }
}

/// The path with everything decoded that may stand in a segment as it is (RFC 3986 section 3.3);
/// `None` where nothing is.
fn plainly(path: &str) -> Option<String> {
    memchr::memchr(b'%', path.as_bytes())?;
    let mut rest = path;
    let mut plain = String::new();
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        let byte = escape.get(1..3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let decoded = byte.map(char::from).filter(|c| "!$&'()*+,:;=@".contains(*c));
        plain.push_str(before);
        plain.push(decoded.unwrap_or('%'));
        rest = &escape[if decoded.is_some() { 3 } else { 1 }..];
    }
    plain.push_str(rest);
    if plain.len() == path.len() { None } else { Some(plain) }
}

fn allow_of(names: &str) -> HeaderValue {
    HeaderValue::from_str(names).unwrap_or_else(|_| HeaderValue::from_static(""))
}
