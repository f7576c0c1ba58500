//! The rewriting of JSON against a reader of whole texts, and what becomes of which answer.

use std::fmt::Write;

use ::http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

const KEYS: [&str; 3] = ["email", "date_of_birth", "straße"];
const HIDDEN: &str = "***REDACTED***";

fn names() -> Arc<Names> {
    Arc::new(KEYS.iter().collect())
}

/// Rewrites a text that comes in these pieces.
fn rewrite<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, Broken> {
    let (mut rewriter, mut out) = (Rewriter::new(names()), Vec::new());
    for piece in pieces {
        rewriter.push(piece, &mut out)?;
    }
    rewriter.finish().map(|()| out)
}

fn text(json: &str) -> String {
    String::from_utf8(rewrite([json.as_bytes()]).unwrap()).unwrap()
}

/// Cuts a text wherever it is told to.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[test]
fn values_are_hidden_whatever_they_are_and_the_rest_stays_to_the_byte() {
    let json = " {\"email\" : \"a@b\", \"n\":[1.50e+3, {\"Email\":{\"x\":[\"]\"]}}],\"email\":null,\"e\":\"email\"}\n";
    let told = " {\"email\" : \"***REDACTED***\", \"n\":[1.50e+3, {\"Email\":\"***REDACTED***\"}],\
                \"email\":\"***REDACTED***\",\"e\":\"email\"}\n";
    assert_eq!(text(json), told);
    for value in ["1", "-0.5", "true", "[]", "{}", "[[{}]]", "\"\\\"\\\\\"", "\"\\u0000é\""] {
        assert_eq!(text(&format!("{{\"email\":{value}}}")), "{\"email\":\"***REDACTED***\"}", "{value}");
        assert_eq!(text(value), value, "nothing is a key");
    }
}

#[test]
fn a_key_is_what_its_escapes_mean_in_any_case_and_spelling() {
    for key in [
        "em\\u0061il",
        "\\u0045MAIL",
        "eMail",
        "e-mail",
        "Date-Of-Birth",
        "dateOfBirth",
        "date of birth",
        "STRA\\u00dfe",
        "Straße",
    ] {
        assert_eq!(text(&format!("{{\"{key}\":7}}")), format!("{{\"{key}\":\"{HIDDEN}\"}}"), "{key}");
    }
    for key in [
        "email2",
        "mail",
        "",
        "em\\u0000ail",
        "email\\ud83d\\ude00",
        "\\ud83demail",
        "e.mail",
        "\\u0065\\\\mail",
    ] {
        let json = format!("{{\"{key}\":7}}");
        assert_eq!(text(&json), json, "{key}");
    }
    let long = format!("{{\"{}email\":7}}", "x".repeat(10_000));
    assert_eq!(text(&long), long);
}

#[test]
fn what_is_not_json_is_broken() {
    for bad in [
        "",
        " ",
        "{",
        "[1,]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{1:2}",
        "[1 2]",
        "1 2",
        "{}{}",
        "]",
        "[}",
        "{]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "nul",
        "nulll",
        "True",
        "NaN",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "\u{feff}{}",
        "{\"a\":1}\u{a0}",
        "//c\n1",
    ] {
        assert_eq!(rewrite([bad.as_bytes()]), Err(Broken), "{bad:?}");
    }
    for bad in
        [&b"\"\xff\""[..], b"\"\xc3\"", b"\"\xed\xa0\x80\"", b"\"\xc0\x80\"", b"{\"\xff\":1}", b"\xff\xfe"]
    {
        assert_eq!(rewrite([bad]), Err(Broken), "{bad:?}");
        assert_eq!(rewrite(bad.chunks(1)), Err(Broken), "{bad:?} byte by byte");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("{}{}", "[{\"a\":".repeat(depth / 2), "[".repeat(depth % 2));
    let closed =
        |depth: usize| format!("{}{}1{}{}", nested(depth), "", "]".repeat(depth % 2), "}]".repeat(depth / 2));
    let most = usize::try_from(DEPTH_MAX).unwrap();
    assert_eq!(text(&closed(most)), closed(most));
    assert_eq!(rewrite([closed(most + 1).as_bytes()]), Err(Broken));
    let hidden = format!("{{\"email\":{}}}", closed(most));
    assert_eq!(rewrite([hidden.as_bytes()]), Err(Broken), "also where nothing of it is kept");
}

#[test]
fn after_a_fault_nothing_that_was_to_be_hidden_is_out() {
    let (mut rewriter, mut out) = (Rewriter::new(names()), Vec::new());
    assert_eq!(rewriter.push(b"{\"email\":\"secret\",]", &mut out), Err(Broken));
    assert!(!String::from_utf8_lossy(&out).contains("secret"));
}

/// What must be true, by a reader that has the whole text.
fn reference(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let folded = key.to_lowercase().replace(['_', '-', ' '], "");
                let is_hidden = ["email", "dateofbirth", "straße"].contains(&folded.as_str());
                (key, if is_hidden { HIDDEN.into() } else { reference(value) })
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(reference).collect(),
        other => other,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec!["email", "E-Mail", "DATE_OF_BIRTH", "Straße", "name", "emails"])
                .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Writes a value in one of the many ways that mean the same.
fn spell(value: &Value, odds: &mut impl Iterator<Item = u8>, out: &mut String) {
    blanks(odds, out);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(item, odds, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(&Value::from(key.as_str()), odds, out);
                out.push(':');
                spell(value, odds, out);
            }
            out.push('}');
        }
        Value::String(text) => {
            out.push('"');
            for c in text.chars() {
                if odds.next().unwrap() < 200 && c >= ' ' && !matches!(c, '"' | '\\') {
                    out.push(c);
                } else {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        write!(out, "\\u{unit:04x}").unwrap();
                    }
                }
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    blanks(odds, out);
}

fn blanks(odds: &mut impl Iterator<Item = u8>, out: &mut String) {
    match odds.next().unwrap() {
        0..=20 => out.push(' '),
        21..=30 => out.push_str("\r\n\t"),
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_text_in_any_pieces_is_what_a_reader_of_the_whole_makes_of_it(
        value in values(),
        odds in prop::collection::vec(any::<u8>(), 1..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut json = String::new();
        spell(&value, &mut odds.iter().copied().cycle(), &mut json);
        let whole = rewrite([json.as_bytes()]).unwrap();
        let read: Value = serde_json::from_slice(&whole).unwrap();
        let wanted: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(read, reference(wanted));
        prop_assert_eq!(&rewrite(pieces(json.as_bytes(), &cuts)).unwrap(), &whole);
        prop_assert_eq!(&rewrite(json.as_bytes().chunks(1)).unwrap(), &whole);
    }

    #[test]
    fn what_another_strict_reader_takes_is_taken_and_nothing_else(
        value in values(),
        odds in prop::collection::vec(any::<u8>(), 1..50),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut json = String::new();
        spell(&value, &mut odds.iter().copied().cycle(), &mut json);
        let mut bytes = json.into_bytes();
        for (at, byte, is_more) in faults {
            let at = at.index(bytes.len());
            if is_more { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        let is_json = std::str::from_utf8(&bytes).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
        prop_assert_eq!(rewrite(pieces(&bytes, &cuts)).is_ok(), is_json);
    }
}

fn redaction(other: OnOther) -> Redaction {
    Redaction { names: names(), buffer: 1024, other }
}

fn judged(
    other: OnOther,
    status: u16,
    lines: &[(&'static str, &'static str)],
) -> Result<Treatment, Impossible> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    redaction(other).judge(StatusCode::from_u16(status).unwrap(), &headers)
}

#[test]
fn json_by_any_of_its_names_is_rewritten_whatever_the_status() {
    for kind in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/problem+json",
        "application/vnd.api+json; ext=\"x\"",
        "text/json;charset=\"utf-8\"",
    ] {
        for status in [200, 201, 404, 500] {
            let lines = [("content-type", kind), ("content-encoding", "identity")];
            assert_eq!(judged(OnOther::Refuse, status, &lines), Ok(Treatment::Rewrite), "{kind}");
        }
    }
}

#[test]
fn other_types_pass_only_where_the_route_says_so() {
    for kind in [
        "text/html",
        "text/event-stream",
        "application/x-ndjson",
        "application/json-seq",
        "application/jsonp",
    ] {
        let lines = [("content-type", kind)];
        assert_eq!(judged(OnOther::Refuse, 200, &lines), Err(Impossible), "{kind}");
        assert_eq!(judged(OnOther::Pass, 200, &lines), Ok(Treatment::Keep), "{kind}");
    }
    assert_eq!(judged(OnOther::Refuse, 200, &[]), Err(Impossible), "no type is none");
    assert_eq!(judged(OnOther::Refuse, 200, &[("content-length", "0")]), Ok(Treatment::Rewrite));
    assert_eq!(judged(OnOther::Refuse, 204, &[]), Ok(Treatment::Rewrite));
}

#[test]
fn json_that_cannot_be_read_passes_nowhere() {
    let json = ("content-type", "application/json");
    for lines in [
        vec![json, ("content-encoding", "gzip")],
        vec![json, ("content-encoding", "identity"), ("content-encoding", "br")],
        vec![("content-type", "application/json; charset=utf-16")],
        vec![json, ("content-type", "text/html")],
        vec![("content-type", "text/html, application/json")],
    ] {
        for other in [OnOther::Refuse, OnOther::Pass] {
            assert_eq!(judged(other, 200, &lines), Err(Impossible), "{lines:?}");
        }
    }
    assert_eq!(judged(OnOther::Pass, 206, &[json]), Err(Impossible), "a part may look like a whole");
}

#[test]
fn reads_lose_their_conditions_and_writes_keep_theirs() {
    let withheld = |method| Redaction::withheld(&method).cloned().collect::<Vec<_>>();
    for name in [header::ACCEPT_ENCODING, header::RANGE, header::IF_RANGE] {
        assert!(withheld(Method::GET).contains(&name) && withheld(Method::PUT).contains(&name));
    }
    assert!(withheld(Method::GET).contains(&header::IF_NONE_MATCH));
    assert!(!withheld(Method::PUT).contains(&header::IF_MATCH));
}
