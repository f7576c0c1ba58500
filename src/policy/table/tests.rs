use proptest::prelude::*;

use super::*;
use crate::policy::pattern::tests::{any_path, any_pattern};

fn entry<T>(host: Option<&str>, path: &str, methods: &[&str], value: T) -> Entry<T> {
    let methods = methods.iter().fold(Methods::NONE, |all, name| all.with(Methods::named(name).unwrap()));
    Entry {
        host: host.map(|host| Host::parse(host).unwrap()),
        pattern: Pattern::parse(path).unwrap(),
        methods: if methods.is_empty() { Methods::ALL } else { methods },
        value,
    }
}

fn value<'t>(table: &'t Table<&'static str>, host: &str, path: &str) -> Option<&'t str> {
    match table.find(host, path, &Method::GET) {
        Found::Entry(value, _) => Some(value),
        _ => None,
    }
}

#[test]
fn the_most_specific_host_that_has_the_path_wins() {
    let table = Table::build([
        entry(None, "/**", &[], "any"),
        entry(Some("*.example.com"), "/a/**", &[], "wild"),
        entry(Some("api.example.com"), "/a/b", &[], "exact"),
    ])
    .unwrap();
    assert_eq!(value(&table, "api.example.com", "/a/b"), Some("exact"));
    assert_eq!(value(&table, "api.example.com", "/a/c"), Some("wild"));
    assert_eq!(value(&table, "api.example.com", "/x"), Some("any"));
    assert_eq!(value(&table, "x.api.example.com", "/a/c"), Some("any"));
    assert_eq!(value(&table, "example.com", "/a/b"), Some("any"));
}

#[test]
fn the_path_is_chosen_before_the_method() {
    let table = Table::build([
        entry(None, "/files/**", &["GET", "POST"], "files"),
        entry(None, "/files/secret", &["GET"], "read"),
        entry(None, "/files/secret", &["DELETE"], "remove"),
    ])
    .unwrap();
    let Found::WrongMethod(allowed) = table.find("h", "/files/secret", &Method::POST) else {
        panic!("POST must not fall through to the wider pattern");
    };
    assert_eq!(allowed.to_string(), "GET, HEAD, DELETE");
    assert!(matches!(table.find("h", "/files/secret", &Method::HEAD), Found::Entry(&"read", _)));
    assert!(matches!(table.find("h", "/nothing", &Method::GET), Found::Nothing));
}

#[test]
fn parameters_are_given_by_name() {
    let table = Table::build([
        entry(None, "/{org}/users/{id}", &["GET"], 1),
        entry(None, "/{team}/users/{who}", &["PUT"], 2),
    ])
    .unwrap();
    let Found::Entry(1, params) = table.find("h", "/acme/users/42", &Method::GET) else { panic!() };
    assert_eq!(params.iter().collect::<Vec<_>>(), [("org", "acme"), ("id", "42")]);
    let Found::Entry(2, params) = table.find("h", "/acme/users/42", &Method::PUT) else { panic!() };
    assert_eq!((params.get("who"), params.get("id")), (Some("42"), None));
}

#[test]
fn a_dead_end_is_walked_back_and_leaves_no_parameter() {
    let table = Table::build([
        entry(None, "/a/{x}/c", &[], 1),
        entry(None, "/**", &[], 2),
        entry(None, "/{p}/b/d", &[], 3),
        entry(None, "/a/b/{z}/e", &[], 4),
    ])
    .unwrap();
    let Found::Entry(3, params) = table.find("h", "/a/b/d", &Method::GET) else { panic!() };
    assert_eq!(params.iter().collect::<Vec<_>>(), [("p", "a")]);
    let Found::Entry(2, params) = table.find("h", "/a/b/zzz", &Method::GET) else { panic!() };
    assert_eq!(params.iter().count(), 0);
}

#[test]
fn two_entries_that_could_both_win_are_named() {
    let clashes = Table::build([
        entry(None, "/a/{x}", &["GET", "POST"], ()),
        entry(None, "/a/{y}", &["GET"], ()),
        entry(Some("h"), "/a/{y}", &["GET"], ()),
    ])
    .unwrap_err();
    let get = Methods::named("GET").unwrap();
    assert_eq!(clashes, [Clash::Same { first: 0, second: 1, methods: get }]);

    let pair = [entry(None, "/users/{id}/posts", &[], 1), entry(None, "/users/me/{what}", &[], 2)];
    let clashes = Table::build(pair.clone()).unwrap_err();
    let Clash::Ambiguous { both, .. } = &clashes[0] else { panic!("{clashes:?}") };
    assert_eq!((clashes.len(), both.as_str()), (1, "/users/me/posts"));
    let table = Table::build(pair.into_iter().chain([entry(None, "/users/me/posts", &[], 3)])).unwrap();
    assert!(matches!(table.find("h", "/users/me/posts", &Method::GET), Found::Entry(3, _)));
}

/// What the table must say: among the patterns that fit, the one that all others contain.
fn naive(entries: &[Entry<usize>], path: &str) -> Option<usize> {
    let fitting: Vec<_> = entries.iter().filter(|entry| entry.pattern.matches(path)).collect();
    fitting
        .iter()
        .find(|best| fitting.iter().all(|other| other.pattern.contains(&best.pattern)))
        .map(|e| e.value)
}

fn distinct(patterns: Vec<Pattern>) -> Vec<Entry<usize>> {
    let mut kept: Vec<Entry<usize>> = Vec::new();
    for pattern in patterns {
        if !kept.iter().any(|entry| entry.pattern.same_shape(&pattern)) {
            kept.push(Entry { host: None, pattern, methods: Methods::ALL, value: kept.len() });
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_answers_as_a_naive_matcher_does(
        patterns in proptest::collection::vec(any_pattern(), 1..12),
        paths in proptest::collection::vec(any_path(), 1..20),
    ) {
        let entries = distinct(patterns);
        let Ok(table) = Table::build(entries.clone()) else {
            // The build must have a reason: some path where no pattern is the most specific, or a
            // meet that is nobody's. Such a pair exists, or the refusal is wrong.
            let reason = entries.iter().any(|a| entries.iter().any(|b| {
                !a.pattern.contains(&b.pattern) && !b.pattern.contains(&a.pattern)
                    && a.pattern.meet(&b.pattern).is_some_and(|m| !entries.iter().any(|e| e.pattern.same_shape(&m)))
            }));
            prop_assert!(reason);
            return Ok(());
        };
        for path in &paths {
            let found = match table.find("h", path, &Method::GET) {
                Found::Entry(value, _) => Some(*value),
                _ => None,
            };
            prop_assert_eq!(found, naive(&entries, path), "{}", path);
        }
    }

    #[test]
    fn the_order_of_entries_never_matters(
        patterns in proptest::collection::vec(any_pattern(), 1..12),
        paths in proptest::collection::vec(any_path(), 1..20),
        seed in any::<u64>(),
    ) {
        let entries = distinct(patterns);
        let mut shuffled = entries.clone();
        let mut state = seed;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        match (Table::build(entries), Table::build(shuffled)) {
            (Ok(one), Ok(other)) => for path in &paths {
                let answer = |table: &Table<usize>| match table.find("h", path, &Method::GET) {
                    Found::Entry(value, _) => Some(*value),
                    _ => None,
                };
                prop_assert_eq!(answer(&one), answer(&other), "{}", path);
            },
            (one, other) => prop_assert_eq!(one.is_err(), other.is_err()),
        }
    }
}
