//! What is said about waiting for people, seen over all routes: settings that could never act, or not as
//! their words sound.
//!
//! Law: what can only be a mistake is a problem; what may be meant is a warning.

use super::agent::{Agents, RouteAgents};
use super::hold::{Hold, HoldWord, RouteApprovers};
use super::place::Place;
use super::problem::Report;
use super::rights::Organizations;
use super::route::Route;
use crate::policy::{Approver, Methods};

/// Looks at all routes once they have been checked one by one.
pub(super) fn check(routes: &[Route], agents: &Agents, organizations: &Organizations, report: &mut Report) {
    if !report.is_whole("routes") {
        return;
    }
    let root = Place::root();
    let admitting = || routes.iter().filter_map(|route| route.agents.as_ref());
    if !agents.is_enabled && admitting().count() > 0 {
        report
            .warning(&root.key("agents").key("enabled"), "agents are switched off, and routes admit them")
            .hint("nothing that calls as an agent passes anywhere until this is `true`");
    }
    for (at, code) in agents.confirm.iter().enumerate() {
        if !admitting().any(|own| own.permission == *code) {
            report
                .problem(
                    &root.key("agents").key("confirm").item(at),
                    format!("no route admits agents with `{code}`, so nothing waits by this"),
                )
                .hint("remove it, or write the `agents.permission` of the routes that are meant");
        }
    }
    for (at, route) in routes.iter().enumerate() {
        if let Some(own) = &route.agents {
            let place = root.key("routes").item(at).key("agents");
            one(route.methods, own, agents, &place, report);
            if let Some(approvers) = own.approvers.as_ref().filter(|_| !organizations.is_enabled) {
                without_organizations(approvers, &place.key("approvers"), report);
            }
        }
    }
}

fn one(methods: Methods, own: &RouteAgents, agents: &Agents, place: &Place, report: &mut Report) {
    let is_confirmed = agents.confirm.contains(&own.permission);
    match &own.hold {
        Hold::Word(HoldWord::Never) if !is_confirmed => {
            let (has_approvers, has_bound) = (own.approvers.is_some(), !own.bound_headers.is_empty());
            for (key, is_said) in [("approvers", has_approvers), ("bound_headers", has_bound)] {
                if is_said {
                    report
                        .problem(&place.key(key), "nothing waits for people on this route")
                        .hint("say what does with `hold: always` or `hold: { when: … }`, or remove this");
                }
            }
            return;
        }
        Hold::When(_) if is_confirmed => {
            report
                .warning(&place.key("hold"), format!("`agents.confirm` holds all of `{}`", own.permission))
                .hint("the condition has no effect: remove one of the two");
        }
        Hold::When(_) if methods.names().all(|name| name == "GET" || name == "HEAD") => {
            report
                .warning(&place.key("hold").key("when"), "these methods have no body to look into")
                .hint("each such request waits: say `hold: always`");
        }
        _ => {}
    }
    if own.decide_within > agents.max_lifetime {
        report
            .warning(&place.key("decide_within"), "longer than any agent's token lives")
            .hint("what waits is void when the token ends: see `agents.max_lifetime`");
    }
}

fn without_organizations(approvers: &RouteApprovers, place: &Place, report: &mut Report) {
    let rule = approvers.rule();
    if rule.0.iter().flat_map(|group| &group.any_of).any(|one| matches!(one, Approver::OrgRole(_))) {
        report
            .problem(place, "nobody has a role in an organization: `organizations.enabled` is false")
            .hint("use `role: CODE` or `delegator: true`");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Problems, load_text};

    fn load(routes: &str, more: &str) -> Result<Vec<String>, Problems> {
        let yaml = format!(
            "preset: development
store: 'sqlite://x'
{more}
permissions: [ {{ code: pay }}, {{ code: read }} ]
upstreams: {{ up: {{ servers: ['127.0.0.1:9'] }} }}
routes:
  - {{ name: pay, match: {{ path: /pay, methods: [POST] }}, upstream: up, allow: signed_in, agents: {{ permission: pay, {routes} }} }}
  - {{ name: read, match: {{ path: /read, methods: [GET] }}, upstream: up, allow: signed_in, agents: {{ permission: read }} }}
"
        );
        let loaded = load_text(&yaml)?;
        Ok(loaded.warnings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_can_never_act_is_a_problem_with_its_place() {
        for (routes, more, path) in [
            ("hold: always", "agents: { confirm: [read, dashboard.view] }", "agents.confirm[1]"),
            ("approvers: { any_of: [ { delegator: true } ] }", "", "routes[0].agents.approvers"),
            ("bound_headers: [x-tenant]", "", "routes[0].agents.bound_headers"),
            (
                "hold: always, approvers: { any_of: [ { org_role: admin } ] }",
                "organizations: { enabled: false }",
                "routes[0].agents.approvers",
            ),
        ] {
            let problems = load(routes, more).expect_err(path).list;
            let told: Vec<_> = problems.iter().map(|own| own.path.as_str()).collect();
            assert_eq!(told, [path], "{problems:?}");
            assert!(problems[0].line > 0 && problems[0].column > 0 && problems[0].hint.is_some());
        }
    }

    #[test]
    fn what_may_be_meant_is_a_warning() {
        let when = "hold: { when: { pointer: /amount, above: 1 } }";
        for (routes, more, part) in [
            (when, "agents: { confirm: [pay] }", "has no effect"),
            (when, "agents: { enabled: false }", "switched off"),
            ("hold: always, decide_within: 2h", "agents: { max_lifetime: 1h }", "longer than any"),
        ] {
            let warnings = load(routes, more).unwrap_or_else(|problems| panic!("{problems}"));
            assert!(warnings.len() == 1 && warnings[0].contains(part), "{warnings:?}");
        }
        assert_eq!(load(when, "").unwrap(), Vec::<String>::new());
        assert_eq!(
            load("hold: never, approvers: { any_of: [ { delegator: true } ] }", "agents: { confirm: [pay] }")
                .unwrap(),
            Vec::<String>::new()
        );
    }
}
