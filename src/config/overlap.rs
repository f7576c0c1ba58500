//! Routes against each other, and against the gateway's own paths.
//!
//! Law: for every request at most one route can be meant, and a route that could never be reached
//! is an error.

use super::account::Api;
use super::place::Place;
use super::problem::Report;
use super::profile::Profile;
use super::route::Route;
use crate::policy::table::{Clash, Entry, Table};
use crate::policy::{Methods, Pattern};

/// The paths that the gateway answers itself, before any route: exact ones and whole subtrees.
#[must_use]
pub fn own_paths(api: &Api) -> Vec<Pattern> {
    let mut own = native_paths(&api.prefix);
    own.extend(api.profiles.iter().flat_map(Profile::subtrees));
    own
}

/// The same without what profiles mount.
pub(super) fn native_paths(api_prefix: &str) -> Vec<Pattern> {
    let subtree = format!("{api_prefix}/**");
    let texts = [
        subtree.as_str(),
        "/api/v1/health",
        "/api/v1/health/",
        "/.well-known/jwks.json",
        "/docs",
        "/docs/**",
        "/redoc",
        "/redoc/**",
        "/openapi.json",
        "/portcullis/**",
    ];
    texts.into_iter().filter_map(|text| Pattern::parse(text).ok()).collect()
}

pub(super) fn check(routes: &[Route], api: &Api, report: &mut Report) {
    let own = own_paths(api);
    for (at, route) in routes.iter().enumerate() {
        if let Some(own) = own.iter().find(|own| own.contains(&route.path)) {
            report
                .problem(
                    &path_of(at),
                    format!("the gateway itself answers {own}, so this route is never reached"),
                )
                .hint("choose another path");
        }
    }
    let entries = routes.iter().map(|route| Entry {
        host: route.host.clone(),
        pattern: route.path.clone(),
        methods: route.methods,
        value: (),
    });
    for clash in Table::build(entries).err().unwrap_or_default() {
        explain(&clash, routes, report);
    }
}

fn explain(clash: &Clash, routes: &[Route], report: &mut Report) {
    match clash {
        Clash::Same { first, second, methods } => {
            let (one, other) = (&routes[*first], &routes[*second]);
            let what = if other.methods.shared_with(one.methods) == other.methods {
                format!("shadowed: the route `{}` has the same path", one.name)
            } else {
                format!("the route `{}` has the same path", one.name)
            };
            let methods =
                if *methods == Methods::ALL { "every method".to_owned() } else { methods.to_string() };
            report
                .problem(&path_of(*second), format!("{what} ({}) for {methods}", one.path))
                .hint("give each of them its own methods, path or host");
        }
        Clash::Ambiguous { first, second, both } => {
            let (one, other) = (&routes[*first], &routes[*second]);
            report
                .problem(
                    &path_of(*second),
                    format!("{} and {} of the route `{}` both fit {both}", other.path, one.path, one.name),
                )
                .hint(format!("add a route with the path `{both}` to say which is meant"));
        }
    }
}

fn path_of(at: usize) -> Place {
    Place::root().key("routes").item(at).key("match").key("path")
}
