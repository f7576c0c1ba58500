//! Reads one Rust file the way the rules need it: code, comments and strings apart.
//!
//! A masked text has the length and the lines of the original, with everything that is not wanted
//! replaced by blanks, so that a rule can report the line of what it found.

use std::path::Path;

/// One file, taken apart.
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    pub text: String,
    /// The text without comments and without what stands inside strings and characters.
    pub code: String,
    /// Only the comments.
    pub comments: String,
    /// Only what stands inside strings.
    pub strings: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Text,
}

impl Source {
    pub fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a source file is readable");
        let path = path.strip_prefix(root).expect("a path under the root");
        Self::new(&path.to_string_lossy(), &text)
    }

    pub fn new(path: &str, text: &str) -> Self {
        let kinds = kinds(text.as_bytes());
        let only = |kind| mask(text, |at| kinds[at] == kind);
        Self {
            path: path.replace('\\', "/"),
            text: text.to_owned(),
            code: only(Kind::Code),
            comments: only(Kind::Comment),
            strings: only(Kind::Text),
        }
    }

    /// The room of the house a file belongs to: `gate` for `src/gate/head.rs`, none outside `src`.
    pub fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next()?;
        match first.strip_suffix(".rs").unwrap_or(first) {
            "lib" | "main" => None,
            module => Some(module),
        }
    }

    /// How many modules deep the file's own content stands: 1 for `src/gate/mod.rs`, 2 for `src/gate/head.rs`.
    pub fn depth(&self) -> usize {
        let parts = self.path.strip_prefix("src/").unwrap_or(&self.path).split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// Whether the whole file is there for tests only.
    pub fn is_test(&self) -> bool {
        let ends = ["tests.rs", "/testing.rs"];
        !self.path.starts_with("src/")
            || ends.iter().any(|end| self.path.ends_with(end))
            || self.path.contains("/tests/")
    }

    /// A masked text without its `#[cfg(test)] mod … { … }` parts.
    pub fn outside_tests(&self, masked: &str) -> String {
        let mut inside = vec![false; masked.len()];
        for start in occurrences(&self.code, "#[cfg(test)]") {
            let Some(open) = self.code[start..].find(['{', ';']).map(|found| start + found) else { continue };
            let end = if self.code[open..].starts_with('{') { closing(&self.code, open) } else { open };
            inside[start..end].fill(true);
        }
        mask(masked, |at| !inside[at])
    }

    /// How many inline modules are open at a position of the code.
    pub fn inline_depth(&self, position: usize) -> usize {
        occurrences(&self.code, "mod ")
            .filter(|&start| {
                let rest =
                    self.code[start + 4..].trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
                let open = self.code.len() - rest.trim_start().len();
                rest.trim_start().starts_with('{') && open < position && position < closing(&self.code, open)
            })
            .count()
    }
}

/// The line, from 1, of a position.
pub fn line_of(text: &str, position: usize) -> usize {
    text[..position].matches('\n').count() + 1
}

fn occurrences<'a>(text: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(needle).map(|(at, _)| at)
}

/// The position after the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn mask(text: &str, is_kept: impl Fn(usize) -> bool) -> String {
    let blank = |at: usize, byte: u8| if is_kept(at) || byte == b'\n' { byte } else { b' ' };
    let bytes = text.bytes().enumerate().map(|(at, byte)| blank(at, byte)).collect();
    String::from_utf8(bytes).expect("kinds change only between characters")
}

/// What each byte belongs to. Quotes and comment marks count to what they enclose.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = vec![Kind::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let (kind, end) = token(text, at);
        kinds[at..end].fill(kind);
        at = end;
    }
    kinds
}

fn token(text: &[u8], at: usize) -> (Kind, usize) {
    let rest = &text[at..];
    let previous_is_word = at > 0 && (text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
    if rest.starts_with(b"//") {
        return (Kind::Comment, end_of(rest, b"\n").map_or(text.len(), |length| at + length - 1));
    }
    if rest.starts_with(b"/*") {
        return (Kind::Comment, at + block_comment(rest));
    }
    if !previous_is_word && let Some(length) = raw_string(rest) {
        return (Kind::Text, at + length);
    }
    match rest[0] {
        b'"' => (Kind::Text, at + quoted(rest, b'"')),
        b'\'' if is_character(rest) => (Kind::Text, at + quoted(rest, b'\'')),
        _ => (Kind::Code, at + 1),
    }
}

/// The length up to and including the first `needle`.
fn end_of(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle).map(|found| found + needle.len())
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn raw_string(text: &[u8]) -> Option<usize> {
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|prefix| text.starts_with(prefix))?.len();
    let hashes = text[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let body = prefix + hashes + 1;
    if text.get(body - 1) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    Some(end_of(&text[body..], &end).map_or(text.len(), |length| body + length))
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A character literal and not a lifetime: `'a'`, `'\n'`, `'é'`, but not `'a` of `<'a>`.
fn is_character(text: &[u8]) -> bool {
    if text.get(1) == Some(&b'\\') {
        return true;
    }
    let width = match text.get(1) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    text.get(1 + width) == Some(&b'\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        let source = Source::new(
            "src/gate/head.rs",
            "let a = \"say \\\"// no\"; // yes\nfn f<'a>(x: &'a str) { '\"' } /* /* b */ c */ r#\"raw \" text\"#; done()",
        );
        assert!(source.comments.contains("// yes") && source.comments.contains("c */"));
        assert!(!source.comments.contains("no"));
        assert!(source.strings.contains("raw \" text") && source.strings.contains("// no"));
        assert!(source.code.contains("fn f<'a>(x: &'a str)") && source.code.contains("done()"));
        assert_eq!(source.code.lines().count(), source.text.lines().count());
    }

    #[test]
    fn test_modules_can_be_left_out() {
        let source =
            Source::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\nfn c() {}\n");
        let rest = source.outside_tests(&source.code);
        assert!(rest.contains("fn a()") && rest.contains("fn c()") && !rest.contains("fn b()"));
    }

    #[test]
    fn depth_counts_modules() {
        let at = |path| Source::new(path, "").depth();
        assert_eq!((at("src/principal.rs"), at("src/gate/mod.rs"), at("src/gate/head.rs")), (1, 1, 2));
        let source = Source::new("src/gate/head.rs", "mod tests { use super::x; }\nuse super::y;");
        let position = |needle| source.code.find(needle).expect("the needle is there");
        assert_eq!(source.inline_depth(position("super::x")), 1);
        assert_eq!(source.inline_depth(position("super::y")), 0);
    }
}
