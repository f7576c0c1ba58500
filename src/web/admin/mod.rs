//! The pages of administrators: people, roles, organizations, applications, agents, the trail and statistics.
//!
//! Law: each page is a view on an endpoint of the API, which it asks in the name of whoever looks (`ask`): what
//! the endpoint refuses, the page does not show and does not do. Looking changes nothing; every deed is a form
//! of ours, and what cannot be undone is asked about once more.

mod agent;
mod application;
mod ask;
mod audit;
mod deed;
mod field;
mod frame;
mod list;
mod organization;
mod organization_deed;
mod plot;
mod role;
mod statistics;
#[cfg(test)]
mod tests;
mod user;
mod user_deed;
mod value;

use maud::html;

use self::deed::Deed;
use self::frame::Filter;
use super::visit;
use crate::http::{ApiError, Call, Nothing, Reply, Row, get};
use crate::principal::Principal;

/// Where the administration begins.
pub(super) const ADMIN: &str = "/portcullis/admin/";
const USERS: &str = "/portcullis/admin/users/";
const ROLES: &str = "/portcullis/admin/roles/";
const ORGANIZATIONS: &str = "/portcullis/admin/organizations/";
const APPLICATIONS: &str = "/portcullis/admin/applications/";
const AGENTS: &str = "/portcullis/admin/agents/";
const AUDIT: &str = "/portcullis/admin/audit/";
const STATISTICS: &str = "/portcullis/admin/statistics/";

/// Whether somebody is shown the way here: whoever may look after something beside what is their own.
pub(super) fn is_for(person: &Principal) -> bool {
    frame::is_for(person)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![get(ADMIN, show).page().about("What somebody may look after")];
    rows.extend(user::rows());
    rows.extend(role::rows());
    rows.extend(organization::rows());
    rows.extend(application::rows());
    rows.extend(agent::rows());
    rows.extend(audit::rows());
    rows.extend(statistics::rows());
    rows.extend(deeds().filter_map(Deed::row));
    rows
}

/// Everything that can be done here.
fn deeds() -> impl Iterator<Item = &'static Deed> {
    let all = [user_deed::DEEDS, role::DEEDS, organization_deed::DEEDS, application::DEEDS, agent::DEEDS];
    all.into_iter().flatten().copied()
}

/// Everything that can be looked for, with where.
fn filters() -> impl Iterator<Item = (&'static str, &'static Filter)> {
    let all = [
        (USERS, user::FILTERS),
        (ROLES, role::FILTERS),
        (ORGANIZATIONS, organization::FILTERS),
        (APPLICATIONS, application::FILTERS),
        (AUDIT, audit::FILTERS),
        (STATISTICS, statistics::FILTERS),
    ];
    all.into_iter().flat_map(|(path, own)| own.iter().map(move |filter| (path, filter)))
}

/// What a field is called on the page of this path; nothing for a name that came from outside.
fn label_of(path: &str, name: &str) -> Option<&'static str> {
    let fields = deeds().filter(|deed| deed.is_at(path)).flat_map(|deed| deed.fields);
    let fields = fields.map(|field| (field.name, field.label));
    let filters = filters().filter(|(section, _)| path.starts_with(section));
    let filters = filters.map(|(_, filter)| (filter.name, filter.label));
    let mut all = fields.chain(filters).filter(|(_, label)| !label.is_empty());
    all.find(|(own, _)| *own == name).map(|(_, label)| label)
}

async fn show(call: Call, _: Nothing) -> Result<Reply, ApiError> {
    let viewer = match visit::viewer(&call) {
        Ok(viewer) => viewer,
        Err(reply) => return Ok(*reply),
    };
    let content = html! {
        h1 { "Administration" }
        p { "What you may look after. Everything that you do here stands in the audit trail." }
        ul.cards {
            @for section in frame::sections(&call, viewer.person) {
                li { a href=(section.path) { strong { (section.name) } span.meta { (section.about) } } }
            }
        }
    };
    frame::answer(&call, &viewer, "Administration", Ok(content))
}
