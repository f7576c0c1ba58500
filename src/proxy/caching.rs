//! An answer that is for one person, as far as caches that several people share are concerned.
//!
//! Law: none may keep it, whatever the upstream says, and the person's own browser may as far as the upstream says.
//! A cookie or a key of ours in a header of its own tells a shared cache nothing (RFC 9111 section 3.5 knows only
//! `Authorization`), so it has to be told in words.

use ::http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
/// What caches of their own kind believe before `Cache-Control`; RFC 9213 names the first by its end.
const TARGETED: &str = "cdn-cache-control";
const ASIDE: [&str; 3] = ["surrogate-control", "edge-control", "x-accel-expires"];

/// Tells shared caches to keep nothing of it.
pub(super) fn for_one_person(headers: &mut HeaderMap) {
    let aside = |name: &&HeaderName| name.as_str().ends_with(TARGETED) || ASIDE.contains(&name.as_str());
    let aside: Vec<HeaderName> = headers.keys().filter(aside).cloned().collect();
    for name in &aside {
        headers.remove(name);
    }
    let said: Option<Vec<&str>> =
        headers.get_all(CACHE_CONTROL).iter().map(|value| value.to_str().ok()).collect();
    // Words that cannot be read may be the ones that forbid everything.
    let control = said.map_or(NO_STORE, |said| narrowed(&said));
    headers.insert(CACHE_CONTROL, control);
}

/// The same without what lets a shared cache keep it.
fn narrowed(said: &[&str]) -> HeaderValue {
    let all = said.iter().flat_map(|line| directives(line)).filter(|directive| !directive.is_empty());
    // `private` with names of headers says something of those alone.
    let kept: Vec<&str> = all
        .filter(|directive| !["public", "s-maxage", "private"].iter().any(|name| is(directive, name)))
        .collect();
    let is_stored = !kept.iter().any(|directive| is(directive, "no-store"));
    let words: Vec<&str> = is_stored.then_some("private").into_iter().chain(kept).collect();
    HeaderValue::try_from(words.join(", ")).unwrap_or(PRIVATE)
}

fn is(directive: &str, name: &str) -> bool {
    directive.split('=').next().unwrap_or_default().trim().eq_ignore_ascii_case(name)
}

/// What stands between commas that are in no quotes.
fn directives(line: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let split = line.split(move |letter: char| {
        let ends = letter == ',' && !is_quoted;
        if letter == '"' && !is_escaped {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && letter == '\\' && !is_escaped;
        ends
    });
    split.map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_kept_by_nobody() {
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.append(CACHE_CONTROL, HeaderValue::from_bytes(b"max-age=60, x=\xff").unwrap());
        for_one_person(&mut headers);
        assert_eq!(headers.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), [NO_STORE]);
    }

    fn told(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        for_one_person(&mut headers);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn no_shared_cache_may_keep_what_is_for_one_person() {
        for (said, told_then) in [
            ("public", "private"),
            ("Public, max-age=60", "private, max-age=60"),
            ("max-age=60, s-maxage=600", "private, max-age=60"),
            ("private=\"set-cookie, public\", max-age=5", "private, max-age=5"),
            ("no-cache=\"a, public\", must-revalidate", "private, no-cache=\"a, public\", must-revalidate"),
            ("no-cache=\"\\\", public\", immutable", "private, no-cache=\"\\\", public\", immutable"),
            ("", "private"),
            // What says so itself says it still.
            ("private", "private"),
            ("private, max-age=60", "private, max-age=60"),
            ("no-store", "no-store"),
            ("no-store, public", "no-store"),
        ] {
            assert_eq!(told(&[("cache-control", said)]), [format!("cache-control: {told_then}")], "{said}");
        }
        assert_eq!(told(&[]), ["cache-control: private"]);
        let lines = [("cache-control", "max-age=1"), ("cache-control", "public")];
        assert_eq!(told(&lines), ["cache-control: private, max-age=1"]);
    }

    #[test]
    fn nothing_is_told_to_one_kind_of_cache_behind_the_backs_of_the_others() {
        let aside = [
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "max-age=600"),
            ("surrogate-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("edge-control", "cache-maxage=600"),
        ];
        assert_eq!(told(&aside), ["cache-control: private"]);
        assert_eq!(
            told(&[("expires", "0")]),
            ["expires: 0", "cache-control: private"],
            "of this one nothing"
        );
    }
}
