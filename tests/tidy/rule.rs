//! The house rules, each a function from one file to what is wrong with it.
//!
//! Every rule has a test that shows it failing on a bad snippet: a rule that cannot fail is no rule.

use crate::source::{Source, line_of};
use regex::Regex;

/// A breach: where, and what to do instead.
pub type Breach = String;

/// Files may be this long.
pub const LONGEST: usize = 450;
/// Names that only some modules may use, with those modules.
const NAMES: &[(&str, &[&str])] = &[
    (r"\bpingora\w*", &["proxy", "server"]),
    (r"\bsqlx\b", &["store"]),
    (r"(?:^|[^:\w])(?:::)?redis::|\buse redis\b", &["shared"]),
    (r"\b(?:std::env\b|std::\{[^}]*\benv\b)", &["config", "cli"]),
    (r"\b(?:tokio::fs|std::fs|std::\{[^}]*\bfs\b)", &["config", "cli", "store"]),
    (r"\baudit::(?:\{[^}]*\b)?append\b", &["app", "audit"]),
];
const SQL: &str = r"\b(?:SELECT\s+\S[\s\S]*\bFROM\b|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|(?:CREATE|DROP|ALTER)\s+TABLE\s)";

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a rule's pattern is valid")
}

fn breach(source: &Source, position: usize, advice: &str) -> Breach {
    format!("{}:{}: {advice}", source.path, line_of(&source.text, position))
}

/// The modules of `lib.rs`, in order.
pub fn modules(lib: &str) -> Vec<String> {
    let line = pattern(r"(?m)^(?:pub )?mod (\w+);");
    line.captures_iter(lib).map(|found| found[1].to_owned()).collect()
}

/// A module imports only modules listed above it, and never reaches the crate's root by `super`.
pub fn module_order(source: &Source, order: &[String]) -> Vec<Breach> {
    let Some(own) = source.module() else { return Vec::new() };
    let rank = |name: &str| order.iter().position(|module| module == name);
    let Some(own_rank) = rank(own) else {
        return vec![format!("{}: `{own}` is not a module of lib.rs", source.path)];
    };
    let mut breaches = Vec::new();
    for (position, name) in crate_paths(&source.code) {
        if rank(&name).is_some_and(|other| other > own_rank) {
            let advice = format!("`{own}` may not use `{name}`, which lib.rs lists after it");
            breaches.push(breach(source, position, &advice));
        }
    }
    for chain in pattern(r"\b(?:super::)+").find_iter(&source.code) {
        let climbed = chain.as_str().matches("super").count();
        if climbed >= source.depth() + source.inline_depth(chain.start()) {
            breaches.push(breach(
                source,
                chain.start(),
                "climbs to the crate's root; write `crate::` so that the order shows",
            ));
        }
    }
    breaches
}

/// Every name that directly follows `crate::`, grouped imports included.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for path in pattern(r"\bcrate::(\w+|\{)").captures_iter(code) {
        let first = path.get(1).expect("the group always takes part");
        if first.as_str() != "{" {
            found.push((first.start(), first.as_str().to_owned()));
            continue;
        }
        let (mut depth, mut is_first) = (0, false);
        for token in pattern(r"\w+|[{},]").find_iter(&code[first.start()..]) {
            match token.as_str() {
                "{" => {
                    depth += 1;
                    is_first = depth == 1;
                }
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                "," => is_first = depth == 1,
                name if is_first => {
                    found.push((first.start() + token.start(), name.to_owned()));
                    is_first = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Pingora, sqlx, Redis, files, the environment and the audit chain each have one owner.
pub fn owned_names(source: &Source) -> Vec<Breach> {
    let Some(own) = source.module().filter(|_| !source.is_test()) else { return Vec::new() };
    let code = source.outside_tests(&source.code);
    let mut breaches = Vec::new();
    for (name, owners) in NAMES.iter().filter(|(_, owners)| !owners.contains(&own)) {
        for found in pattern(name).find_iter(&code) {
            let advice = format!("`{}` is for {} only", found.as_str().trim(), owners.join(" and "));
            breaches.push(breach(source, found.start(), &advice));
        }
    }
    breaches
}

/// SQL stands in `store/` and in files called `store.rs`.
pub fn sql_in_stores(source: &Source) -> Vec<Breach> {
    let is_store = source.module() == Some("store") || source.path.ends_with("/store.rs");
    if is_store || source.is_test() {
        return Vec::new();
    }
    let strings = source.outside_tests(&source.strings);
    let found = pattern(SQL).find(&strings);
    found.map(|sql| breach(source, sql.start(), "SQL belongs in a store.rs")).into_iter().collect()
}

/// A file opens by saying what it is for, in 2 to 8 lines, blank ones and examples aside. `lib.rs` is the map and may say more; the
/// tests beside a module are for that module.
pub fn opening(source: &Source) -> Vec<Breach> {
    if source.path.starts_with("src/") && source.is_test() {
        return Vec::new();
    }
    let mut is_example = false;
    let prose = |line: &&str| {
        let is_fence = line.starts_with("//! ```");
        is_example ^= is_fence;
        !is_fence && !is_example && *line != "//!"
    };
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).filter(prose).count();
    if (2..=8).contains(&lines) || (source.path == "src/lib.rs" && lines > 8) {
        return Vec::new();
    }
    vec![format!("{}: opens with {lines} lines of `//!`, not 2 to 8", source.path)]
}

/// No file is too long to read in one sitting. `exceptions` name what each long file has now, and only shrink.
pub fn length(source: &Source, exceptions: &[(&str, usize)]) -> Vec<Breach> {
    let lines = source.text.lines().count();
    let allowed = exceptions.iter().find(|(path, _)| *path == source.path).map(|(_, lines)| *lines);
    let complaint = match allowed {
        None if lines > LONGEST => format!("{lines} lines; the limit is {LONGEST}: find the seam"),
        Some(allowed) if lines > allowed => {
            format!("{lines} lines; the exception allows {allowed} and only shrinks")
        }
        Some(_) if lines <= LONGEST => "is short enough now: take it off the list of exceptions".to_owned(),
        Some(allowed) if lines < allowed => {
            format!("has shrunk: lower its exception from {allowed} to {lines}")
        }
        _ => return Vec::new(),
    };
    vec![format!("{}: {complaint}", source.path)]
}

/// What is begun is finished, and every test runs and can fail.
pub fn finished(source: &Source) -> Vec<Breach> {
    let code = pattern(r"\b(?:todo|unimplemented)!|#\[ignore\b|\bshould_panic\b");
    let comments = pattern(r"\b(?:TODO|FIXME|XXX|HACK)\b");
    let in_code = code.find_iter(&source.code);
    let in_comments = comments.find_iter(&source.comments);
    in_code
        .chain(in_comments)
        .map(|found| breach(source, found.start(), &format!("`{}`", found.as_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Vec<String> {
        modules("//! text\npub mod base;\nmod store;\npub mod app;\npub mod gate;\npub mod proxy;\n")
    }

    fn ordered(path: &str, text: &str) -> usize {
        module_order(&Source::new(path, text), &order()).len()
    }

    #[test]
    fn a_module_may_not_use_a_later_one() {
        assert_eq!(order(), ["base", "store", "app", "gate", "proxy"]);
        assert_eq!(ordered("src/app/mod.rs", "use crate::store::Db;"), 0);
        assert_eq!(ordered("src/app/mod.rs", "use crate::app::Db; // see crate::gate"), 0);
        assert_eq!(ordered("src/app/mod.rs", "use crate::gate::Gate;"), 1);
        assert_eq!(ordered("src/app/mod.rs", "let x = crate::proxy::run();"), 1);
        assert_eq!(
            ordered("src/app/mod.rs", "use crate::{base::{Id, gate}, gate::{self, Gate}, store, proxy};"),
            2
        );
        assert_eq!(ordered("src/attic/mod.rs", ""), 1);
    }

    #[test]
    fn super_may_not_climb_out_of_the_module() {
        assert_eq!(ordered("src/gate/head.rs", "use super::Gate;"), 0);
        assert_eq!(ordered("src/gate/head.rs", "mod tests { use super::super::Gate; use super::*; }"), 0);
        assert_eq!(ordered("src/gate/mod.rs", "use super::proxy::X;"), 1);
        assert_eq!(ordered("src/gate/head.rs", "use super::super::proxy::X;"), 1);
    }

    #[test]
    fn names_have_owners() {
        let breaches = |path: &str, text: &str| owned_names(&Source::new(path, text)).len();
        assert_eq!(breaches("src/proxy/mod.rs", "use pingora_core::X;"), 0);
        assert_eq!(breaches("src/gate/mod.rs", "use pingora_core::X;"), 1);
        assert_eq!(breaches("src/store/db.rs", "use sqlx::Row;"), 0);
        assert_eq!(breaches("src/app/mod.rs", "fn f(e: sqlx::Error) {}"), 1);
        assert_eq!(breaches("src/app/mod.rs", "use redis::Client;\nuse crate::shared::redis::X;"), 1);
        assert_eq!(breaches("src/config/load.rs", "std::fs::read(x)"), 0);
        assert_eq!(breaches("src/app/mod.rs", "std::fs::read(x)"), 1);
        assert_eq!(breaches("src/app/mod.rs", "use std::{env, io};"), 1);
        assert_eq!(breaches("src/app/mod.rs", "#[cfg(test)]\nmod tests { fn f() { std::fs::read(x) } }"), 0);
        assert_eq!(breaches("src/app/change.rs", "audit::append(tx)"), 0);
        assert_eq!(breaches("src/session/mod.rs", "audit::append(tx)"), 1);
        assert_eq!(breaches("src/session/mod.rs", "use crate::audit::{self, append};"), 1);
    }

    #[test]
    fn sql_stays_in_stores() {
        let breaches = |path: &str, text: &str| sql_in_stores(&Source::new(path, text)).len();
        assert_eq!(breaches("src/account/store.rs", "sql(\"SELECT id FROM account\")"), 0);
        assert_eq!(breaches("src/store/migrate.rs", "sql(\"SELECT id FROM account\")"), 0);
        assert_eq!(breaches("src/account/mod.rs", "sql(\"SELECT id FROM account\")"), 1);
        assert_eq!(breaches("src/account/mod.rs", "sql(\"UPDATE account SET a = ?\")"), 1);
        assert_eq!(
            breaches(
                "src/account/mod.rs",
                "// SELECT id FROM account\nlet a = \"Select one from the list\";"
            ),
            0
        );
    }

    #[test]
    fn openings_are_measured() {
        let breaches = |text: &str| opening(&Source::new("src/a.rs", text)).len();
        assert_eq!(opening(&Source::new("src/a/tests.rs", "use x;")).len(), 0);
        assert_eq!(opening(&Source::new("tests/it/main.rs", "use x;")).len(), 1);
        assert_eq!(breaches("//! One.\n//! Two.\nuse x;"), 0);
        assert_eq!(breaches("//! One.\nuse x;\n//! Two."), 1);
        assert_eq!(breaches(&"//! Many.\n".repeat(9)), 1);
        assert_eq!(
            breaches("//! One.\n//! ```\n//! a\n//! b\n//! c\n//! d\n//! e\n//! f\n//! ```\n//! Two."),
            0
        );
        assert_eq!(breaches("use x;"), 1);
    }

    #[test]
    fn long_files_are_found_and_exceptions_only_shrink() {
        let file = |lines: usize| Source::new("src/a.rs", &"x\n".repeat(lines));
        assert_eq!(length(&file(LONGEST), &[]).len(), 0);
        assert_eq!(length(&file(LONGEST + 1), &[]).len(), 1);
        assert_eq!(length(&file(500), &[("src/a.rs", 500)]).len(), 0);
        assert_eq!(length(&file(501), &[("src/a.rs", 500)]).len(), 1);
        assert_eq!(length(&file(499), &[("src/a.rs", 500)]).len(), 1);
        assert_eq!(length(&file(10), &[("src/a.rs", 500)]).len(), 1);
    }

    #[test]
    fn unfinished_work_is_found() {
        let breaches = |text: &str| finished(&Source::new("src/a.rs", text)).len();
        assert_eq!(breaches("let todo = \"TODO\"; // the list of things"), 0);
        assert_eq!(breaches("todo!()"), 1);
        assert_eq!(breaches("unimplemented!(\"x\")"), 1);
        assert_eq!(breaches("// FIXME later"), 1);
        assert_eq!(breaches("#[ignore = \"slow\"]"), 1);
        assert_eq!(breaches("#[should_panic]"), 1);
    }
}
