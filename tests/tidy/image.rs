//! What the container image is built from, held to what the build reads and needs.
//!
//! Law: nobody builds an image in the tests, so whatever it would lack is found by reading. Each rule has a proof
//! that it can fail.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// What the image of the compiler brings along, by the names of Debian packages.
const BROUGHT: [&str; 2] = ["build-essential", "make"];

/// The files that a source takes in at compile time, from the root of the repository; a folder where the name is
/// put together.
pub fn included(path: &str, text: &str) -> Vec<PathBuf> {
    let call = Regex::new(r#"include_(?:str|bytes)!\(\s*(?:concat!\(\s*)?"([^"]+)""#).expect("a pattern");
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    call.captures_iter(text).map(|found| plain(&folder.join(&found[1]))).collect()
}

/// The path without its steps back.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// What `.dockerignore`, which leaves everything else out, sends to the build.
pub fn sent(dockerignore: &str) -> Vec<PathBuf> {
    assert!(dockerignore.lines().any(|line| line == "*"), "what is not named is left out");
    dockerignore.lines().filter_map(|line| line.strip_prefix('!')).map(PathBuf::from).collect()
}

/// Those of the files that the build would not find.
pub fn unsent(files: &[PathBuf], sent: &[PathBuf]) -> Vec<PathBuf> {
    files.iter().filter(|file| !sent.iter().any(|entry| file.starts_with(entry))).cloned().collect()
}

/// What is wrong with the Dockerfile, given what `scripts/need` wants for a build and the oldest Rust that will do.
pub fn breaches(dockerfile: &str, need: &str, rust: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    let from = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap_or_default();
    let version = from.split(['-', ' ']).next().unwrap_or_default();
    if numbers(version) < numbers(rust) {
        breaches.push(format!("it builds with Rust {version:?}, and {rust} is needed"));
    }
    let build = dockerfile.split("\nFROM ").nth(1).unwrap_or_default();
    let installs = build.lines().find(|line| line.contains("apt-get install")).unwrap_or_default();
    for package in wanted(need).iter().filter(|package| !BROUGHT.contains(&package.as_str())) {
        if !installs.split_whitespace().any(|word| word == package) {
            breaches.push(format!("it builds without {package}, which `scripts/need build` wants"));
        }
    }
    let last = dockerfile.rsplit("\nFROM ").next().unwrap_or_default();
    let user = last.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap_or("root");
    if matches!(user.split(':').next(), Some("root" | "0")) {
        breaches.push("what is in it runs as root".to_owned());
    }
    breaches
}

/// The packages of `scripts/need build`.
fn wanted(need: &str) -> Vec<String> {
    let part = need.split("    build)\n").nth(1).and_then(|rest| rest.split(";;").next()).unwrap_or_default();
    let words = part.lines().filter_map(|line| line.trim().strip_prefix("want "));
    words.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEED: &str =
        "case x in\n    build)\n      want cc build-essential\n      want cmake cmake\n      ;;\n";

    #[test]
    fn a_file_that_is_left_out_is_found() {
        let source =
            "const A: &str = include_str!(\"a.txt\"); m!(include_bytes!(\n    concat!(\"../../up/\", $x)));";
        let files = included("src/web/page.rs", source);
        assert_eq!(files, [PathBuf::from("src/web/a.txt"), PathBuf::from("up")]);
        let sent = sent("*\n!src\n!upper\n");
        assert_eq!(unsent(&files, &sent), [PathBuf::from("up")]);
    }

    #[test]
    fn an_image_that_cannot_be_built_or_runs_as_root_is_told() {
        let good = "# syntax\nFROM rust:1.95.0-x AS build\nRUN apt-get install -y cmake \\\nFROM debian\nUSER 10:10\n";
        assert!(breaches(good, NEED, "1.95").is_empty(), "{:?}", breaches(good, NEED, "1.95"));
        for (from, to) in
            [("1.95.0", "1.94.9"), ("-y cmake", "-y"), ("USER 10:10", "USER 0:0"), ("USER 10:10", "")]
        {
            let bad = good.replace(from, to);
            assert_eq!(breaches(&bad, NEED, "1.95").len(), 1, "{bad}");
        }
    }
}
