//! Holds the documentation to the program: a command, flag or make target that a page tells the
//! reader to type exists.
//!
//! Looked at are inline code, indented or fenced code, where it starts with `portcullis` or `make`.

use crate::rule::Breach;

/// What can be typed.
pub struct Typed {
    pub program: clap::Command,
    pub targets: Vec<String>,
}

/// The targets that a Makefile offers with a `##` description.
pub fn targets(makefile: &str) -> Vec<String> {
    let described = makefile.lines().filter(|line| line.contains(": ## "));
    described.filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
}

/// Everything a page tells its reader to type that is not there.
pub fn breaches(path: &str, page: &str, typed: &Typed) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (number, snippet) in snippets(page) {
        let words: Vec<_> = words(&snippet).collect();
        let complaint = match words.split_first() {
            Some((&"portcullis", rest)) => wrong_call(typed.program.clone(), rest),
            Some((&"make", rest)) => rest
                .iter()
                .find(|word| !word.contains('=') && !typed.targets.iter().any(|target| target == *word))
                .map(|word| format!("there is no `make {word}`")),
            _ => None,
        };
        breaches.extend(complaint.map(|text| format!("{path}:{number}: {text}")));
    }
    breaches
}

/// Pages of the book that its table of contents does not lead to.
pub fn unlisted<'a>(summary: &str, pages: &'a [String]) -> Vec<&'a str> {
    let is_missing = |page: &&str| !summary.contains(&format!("]({page})"));
    pages.iter().map(String::as_str).filter(is_missing).collect()
}

/// Rows of tables that stand apart from their heading, and are shown as text.
pub fn stray_rows(path: &str, page: &str) -> Vec<Breach> {
    let lines: Vec<_> = page.lines().collect();
    let is_row = |index: usize| lines.get(index).is_some_and(|line| line.starts_with('|'));
    let is_rule = |index: usize| lines.get(index).is_some_and(|line| line.starts_with("|-"));
    let begins = (0..lines.len()).filter(|&at| is_row(at) && (at == 0 || !is_row(at - 1)));
    let strays = begins.filter(|&at| !is_rule(at + 1));
    strays.map(|at| format!("{path}:{}: a row of a table without its heading", at + 1)).collect()
}

/// Pieces of code with the line they stand on.
fn snippets(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_fenced = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced || line.starts_with("    ") {
            let bare = line.trim().trim_start_matches("$ ");
            found.push((index + 1, bare.trim_start_matches("./target/debug/").to_owned()));
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|code| (index + 1, code.to_owned())));
        }
    }
    found
}

/// The words up to where the shell, or a remark, takes over.
fn words(snippet: &str) -> impl Iterator<Item = &str> {
    let is_end =
        |word: &&str| !["|", ">", "<", "&&", ";", "#", "\\", "…"].contains(word) && !word.starts_with('(');
    snippet.split_whitespace().take_while(is_end)
}

fn wrong_call(mut command: clap::Command, words: &[&str]) -> Option<String> {
    command.build();
    let mut current = &command;
    for word in words {
        if let Some(flag) = word.strip_prefix("--") {
            let name = flag.split('=').next().unwrap_or(flag);
            let is_known = ["help", "version", ""].contains(&name)
                || current.get_arguments().any(|argument| argument.get_long() == Some(name));
            if !is_known {
                return Some(format!("`{}` has no `--{name}`", current.get_name()));
            }
        } else if current.has_subcommands() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            match current.find_subcommand(word) {
                Some(found) => current = found,
                None => return Some(format!("`{}` has no command `{word}`", current.get_name())),
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, Command};

    fn count(page: &str) -> usize {
        let user = Command::new("user").subcommand(Command::new("list").arg(Arg::new("json").long("json")));
        let program = Command::new("portcullis").subcommand(user).subcommand(Command::new("run"));
        breaches("docs/a.md", page, &Typed { program, targets: targets("run: ## Build\nhidden:\n") }).len()
    }

    #[test]
    fn what_exists_may_be_documented() {
        assert_eq!(
            count("Type `portcullis run`, or:\n\n    $ portcullis user list --json | jq\n\n`make run` once"),
            0
        );
        assert_eq!(
            count("The word portcullis and the verb make mean nothing here; `portcullis --version` does"),
            0
        );
    }

    #[test]
    fn a_page_that_nothing_leads_to_is_found() {
        let pages = ["a.md".to_owned(), "b.md".to_owned()];
        assert_eq!(unlisted("# Book\n\n- [A](a.md)\n", &pages), ["b.md"]);
    }

    #[test]
    fn a_table_in_two_pieces_is_found() {
        assert!(stray_rows("a", "| a |\n|---|\n| 1 |\n\ntext | more").is_empty());
        assert_eq!(stray_rows("a", "| a |\n|---|\n| 1 |\n\n| 2 |\n").len(), 1);
    }

    #[test]
    fn what_does_not_exist_is_found() {
        assert_eq!(count("Type `portcullis fly`."), 1);
        assert_eq!(count("```\nportcullis user list --yaml\n```"), 1);
        assert_eq!(count("    portcullis user drop"), 1);
        assert_eq!(count("`make hidden` and `make coffee`"), 2);
    }
}
