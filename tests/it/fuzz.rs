//! The kept corpus of the fuzz targets, fed to the same functions that the fuzzer feeds.
//! Law: what a fuzzer found once is found again by every run of the tests, on a stable compiler.

#[path = "../../fuzz/read.rs"]
mod read;

use std::path::Path;

use proptest::prelude::*;

/// Feeds everything that is kept for a target, and every beginning of it.
fn feed(target: &str, read: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for entry in entries {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        read(&bytes);
        let step = bytes.len() / 200 + 1;
        (0..bytes.len()).step_by(step).for_each(|end| read(&bytes[..end]));
        count += 1;
    }
    assert!(count >= 8, "the corpus of {target} was found");
}

#[test]
fn heads_of_the_corpus_are_read_or_refused() {
    feed("head", read::head);
}

#[test]
fn targets_of_the_corpus_mean_one_thing_or_nothing() {
    feed("target", read::target);
}

#[test]
fn configurations_of_the_corpus_load_or_say_why_not() {
    feed("config", read::config);
}

#[test]
fn tokens_of_the_corpus_are_believed_only_where_they_were_signed() {
    feed("token", read::token);
}

#[test]
fn answers_of_the_corpus_are_redacted_however_they_are_cut() {
    feed("redact", read::redact);
}

proptest! {
    #[test]
    fn any_bytes_at_all_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        for read in [read::target, read::token, read::redact, read::config] {
            read(&bytes);
            read(text.as_bytes());
        }
        read::head(&[b"GET /", &bytes[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        read::head(format!("GET /{text} HTTP/1.1\r\nHost: {text}\r\nX: {text}\r\n\r\n").as_bytes());
    }
}
