//! What holds for every deed and every search of the pages of administrators, walked as data.

use std::collections::HashSet;

use super::deed::{Sends, Then, Whose};
use super::field::Kind;
use super::{ask::Endpoint, audit, deeds, filters, label_of, rows};
use crate::http::input::Accepts;
use crate::http::row::{Row, Trace};
use crate::http::shape::Shapes;
use crate::http::{ApiError, Bucket, ErrorCode};

/// The fields that an endpoint's reader asks for; none where it reads nothing.
fn asked(endpoint: Endpoint) -> Vec<&'static str> {
    let row = endpoint.row().unwrap_or_else(|| panic!("{endpoint:?} is no endpoint"));
    match row.describe(&mut Shapes::default()).0 {
        Accepts::Nothing => Vec::new(),
        Accepts::Body(offered) | Accepts::Query(offered) => offered.asked,
    }
}

#[test]
fn every_deed_is_an_endpoint_and_sends_what_that_reads() {
    for deed in deeds() {
        let known = asked(deed.asks);
        let sent: Vec<&str> = deed.fields.iter().map(|field| field.name).collect();
        assert!(sent.iter().all(|name| known.contains(name)), "{}: {sent:?} of {known:?}", deed.at);
        assert_eq!(deed.sends == Sends::Nothing, sent.is_empty(), "{}", deed.at);
        let is_named = deed.asks.path.contains("{id}");
        let names = matches!(deed.whose, Whose::Path | Whose::Field(_) | Whose::Within(_));
        assert_eq!(is_named, names, "{}", deed.at);
        let is_there = deed.asks.row().is_some_and(Row::is_in_organization);
        assert_eq!(is_there, matches!(deed.whose, Whose::Organization | Whose::Within(_)), "{}", deed.at);
        let has_place = deed.at.contains("{id}");
        assert_eq!(has_place, deed.whose != Whose::Nobody, "{}", deed.at);
        if let Then::Lead(path, _) = deed.then {
            assert!(!path.contains("{id}") || has_place, "{}", deed.at);
        }
    }
}

#[test]
fn every_deed_is_counted_and_traced_as_its_endpoint_is() {
    let rows = rows();
    for deed in deeds() {
        let found = rows.iter().find(|row| row.path() == deed.at);
        let (row, asked) = (found.unwrap_or_else(|| panic!("{}", deed.at)), deed.asks.row().unwrap());
        assert_eq!((row.bucket(), row.trace()), (asked.bucket(), asked.trace()), "{}", deed.at);
        assert!(matches!(row.trace(), Some(Trace::Audited(_))), "{} leaves nothing in the trail", deed.at);
    }
    let places: HashSet<&str> = deeds().map(|deed| deed.at).collect();
    assert_eq!(places.len(), deeds().count(), "each has a place of its own");
}

/// Whatever is sent is a deed, or the one form that asks for a file, which is looked at here.
#[test]
fn every_form_is_counted_as_what_it_asks_for() {
    let deeds: HashSet<&str> = deeds().map(|deed| deed.at).collect();
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.method().as_str() == "POST").collect();
    let others: Vec<&Row> = rows.iter().filter(|row| !deeds.contains(row.path())).collect();
    let [file] = others[..] else { panic!("{others:?}") };
    let asked = audit::EXPORT.row().unwrap();
    assert_eq!((file.path(), file.bucket()), (audit::FILE, Some(Bucket::AuditExport)));
    assert_eq!((file.bucket(), file.trace()), (asked.bucket(), asked.trace()));
}

/// Only who may not look at invitations sees a page without them.
#[test]
fn of_a_refused_list_of_invitations_the_page_hides_one_reason_alone() {
    for code in ErrorCode::ALL {
        let is_hidden = matches!(code, ErrorCode::OrgPermissionRequired | ErrorCode::OrgRoleRequired);
        let error = ApiError::new(*code);
        assert_eq!(super::organization::may_not_look(&error), is_hidden, "{code:?}");
    }
}

#[test]
fn what_cannot_be_undone_is_asked_about_once_more() {
    // What takes one thing away that the same page gives back.
    let light =
        ["/users/{id}/roles/", "/users/{id}/groups/", "/users/{id}/permissions/", "/roles/{id}/permissions/"];
    for deed in deeds() {
        let is_deletion = deed.asks.method == "DELETE" && !light.contains(&deed.asks.path);
        let is_end = ["/revoke/", "/revoke-all/", "/regenerate/", "/ban/"].iter().any(|end| {
            deed.asks.path.ends_with(end) && deed.asks.path != "/admin/refresh-tokens/{id}/revoke/"
        });
        assert!(deed.sure.is_some() || !(is_deletion || is_end), "{} just does it", deed.at);
    }
    assert!(deeds().filter(|deed| deed.sure.is_some()).count() >= 8, "they were found");
}

#[test]
fn every_search_is_one_that_the_list_knows_and_everything_asked_has_a_name() {
    let lists = [
        (super::user::LIST, super::user::FILTERS),
        (super::role::LIST, super::role::FILTERS),
        (super::organization::LIST, super::organization::FILTERS),
        (super::application::LIST, super::application::FILTERS),
        (audit::LIST, audit::FILTERS),
        (super::statistics::OVERVIEW, super::statistics::FILTERS),
    ];
    for (endpoint, own) in lists {
        let known = asked(endpoint);
        for filter in own {
            assert!(known.contains(&filter.name), "{}: {} of {known:?}", endpoint.path, filter.name);
        }
    }
    assert_eq!(filters().count(), lists.iter().map(|(_, own)| own.len()).sum::<usize>());
    for field in deeds().flat_map(|deed| deed.fields) {
        let is_asked = !matches!(field.kind, Kind::Is(_) | Kind::Says(_));
        assert_eq!(is_asked, !field.label.is_empty(), "{}", field.name);
    }
    let lock = "/portcullis/admin/users/7/lock/";
    assert_eq!(label_of(lock, "duration_minutes"), Some("For how many minutes? 30 if left empty."));
    assert_eq!(label_of("/portcullis/admin/audit/", "duration_minutes"), None);
    assert_eq!(label_of("/portcullis/admin/audit/", "date_from"), Some("Since"));
    assert_eq!(label_of(lock, "<script>"), None);
}

/// Whatever the browser shows of a page, no path of it stands for two things.
#[test]
fn looking_is_by_get_and_doing_by_post() {
    let deeds: HashSet<&str> = deeds().map(|deed| deed.at).collect();
    for row in rows() {
        assert!(row.path().starts_with(super::ADMIN) && row.path().ends_with('/'), "{}", row.path());
        match row.method().as_str() {
            "GET" => assert!(!deeds.contains(row.path()), "{}", row.path()),
            method => assert_eq!(method, "POST", "{}", row.path()),
        }
    }
}
