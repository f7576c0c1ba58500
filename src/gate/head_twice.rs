//! Heads read twice: by the gateway, and by a second reader that knows only RFC 9112.
//!
//! Law: whatever the gateway lets in, the second reader reads as one request with the same method,
//! target, host and length of body. Millions of heads are not needed for that, only nasty ones: they
//! are put together from the pieces that smuggling is made of, and then bytes are changed at random.

use proptest::prelude::*;

use super::*;
use crate::base::random::SeededRandom;
use crate::gate::request_id::RequestIds;
use crate::gate::rules::Hardening;
use crate::gate::target::{Doubtful, TargetRules};

/// What the second reader found.
#[derive(Debug)]
struct Plain {
    method: String,
    target: String,
    host: String,
    body: BodyLength,
}

impl Plain {
    /// `None`: not one request in the grammar of RFC 9112, or one that two readers could end at
    /// different places.
    fn read(raw: &[u8]) -> Option<Self> {
        // Byte for byte: values may hold anything above ASCII.
        let text: String = raw.iter().map(|byte| char::from(*byte)).collect();
        let text = text.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let request: Vec<&str> = lines.next()?.split(' ').collect();
        let [method, target, "HTTP/1.0" | "HTTP/1.1"] = request[..] else { return None };
        let is_token = |text: &str| {
            let is_tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            !text.is_empty() && text.bytes().all(is_tchar)
        };
        let (mut hosts, mut lengths, mut codings) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            let is_text = value.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
            if !is_token(name) || !is_text {
                return None;
            }
            match name.to_ascii_lowercase().as_str() {
                "host" => hosts.push(value.to_owned()),
                "content-length" => lengths.push(value.to_owned()),
                "transfer-encoding" => codings.push(value.to_ascii_lowercase()),
                _ => {}
            }
        }
        let body = match (&lengths[..], &codings[..]) {
            ([], []) => BodyLength::None,
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => match length.parse().ok()? {
                0 => BodyLength::None,
                length => BodyLength::Known(length),
            },
            ([], [coding]) if coding == "chunked" => BodyLength::Unknown,
            _ => return None,
        };
        let host = if hosts.len() == 1 { hosts.remove(0) } else { return None };
        is_token(method).then(|| Self { method: method.to_owned(), target: target.to_owned(), host, body })
    }
}

/// Reads as the proxy does: its parser first, then ours over what that made and the raw bytes.
fn gateway(raw: &[u8]) -> Option<Box<RequestHead>> {
    let mut space = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut space);
    let Ok(httparse::Status::Complete(length)) = parsed.parse(raw) else { return None };
    let mut headers = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let peer = SocketAddr::from(([192, 0, 2, 1], 9));
    let method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    let arrival = Arrival {
        method: &method,
        raw_target: parsed.path?.as_bytes(),
        uri_authority: None,
        version: if parsed.version? == 0 { Version::HTTP_10 } else { Version::HTTP_11 },
        has_ended: false,
        headers: &headers,
        raw: Some(&raw[..length]),
        peer,
        peer_text: &text_of(peer.ip()),
        scheme: Scheme::Http,
        at: Timestamp::from_millis(0),
    };
    let rules = EdgeRules {
        hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        target: TargetRules { encoded_slash: Doubtful::Refuse, params: Doubtful::Refuse, max: 8192 },
        head_max: 32 * 1024,
        fields_max: 100,
        hardening: Hardening::On,
    };
    let id = RequestIds::new(&SeededRandom::new(1)).take(None);
    let head = RequestHead::read(&arrival, id, &rules).ok()?;
    // What follows the head is the next request's or the body's, never part of this one.
    assert_eq!(length, raw.len(), "the head ended early: {}", String::from_utf8_lossy(raw));
    Some(head)
}

/// A text of one byte per character, with every escape taken back.
fn decoded(target: &str) -> Vec<u8> {
    let bytes: Vec<u8> = target.chars().map(|char| u8::try_from(char).unwrap()).collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = pair.filter(|_| bytes[at] == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    out
}

fn agree(raw: &[u8]) -> bool {
    // One head and nothing behind it: what a proxy reads before it decides.
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n").map_or(raw.len(), |at| at + 4);
    let raw = &raw[..end];
    let Some(head) = gateway(raw) else { return false };
    let shown = String::from_utf8_lossy(raw);
    let plain = Plain::read(raw).unwrap_or_else(|| panic!("only the gateway reads {shown:?}"));
    assert_eq!(head.method.as_str(), plain.method, "{shown:?}");
    assert_eq!(head.body, plain.body, "{shown:?}");
    assert_eq!(head.authority.as_str(), plain.host.to_ascii_lowercase(), "{shown:?}");
    let absolute = plain.target.find("://").map(|at| at + 3);
    let path = absolute.map_or(&*plain.target, |at| {
        let rest = &plain.target[at..];
        rest.find(['/', '?']).map_or("/", |slash| &rest[slash..])
    });
    assert_eq!(decoded(head.target.as_str()), decoded(path), "{shown:?}");
    assert!(!head.target.path().contains("//") && !head.target.path().split('/').any(|s| s == ".."));
    true
}

const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "get", "TRACE", "G\tT", "", "DELETE"];
const TARGETS: [&str; 18] = [
    "/",
    "/a/b?c=d",
    "/a/../b",
    "/a//b",
    "/%2e%2e/a",
    "/a%2fb",
    "/a;b",
    "/%61",
    "/a b",
    "*",
    "http://a/x",
    "http://b/x",
    "/a\\b",
    "/a#b",
    "/\u{e9}",
    "/a%",
    "/a?b//../c",
    "//a",
];
const VERSIONS: [&str; 7] = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", ""];
const FIELDS: [&str; 32] = [
    "Host: a",
    "Host: A:80",
    "host:b",
    "Host : a",
    " Host: a",
    "Host: a, b",
    "Host:",
    "Content-Length: 3",
    "content-length:0",
    "Content-Length: 03",
    "Content-Length: +3",
    "Content-Length : 3",
    "Content-Length: 3, 3",
    "Content-Length: 3\t",
    "Transfer-Encoding: chunked",
    "transfer-encoding:Chunked",
    "Transfer-Encoding: x, chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "X: a\rContent-Length: 5",
    "X: a\n b",
    "X:\r\n y",
    "X: \0",
    "X",
    ": y",
    "X: y",
    "Connection: close, content-length",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "Cookie: a=b",
];
const ENDS: [&str; 5] = ["\r\n", "\r\n", "\r\n", "\n", "\r\r\n"];

fn piece(list: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    // The first ones are the usual ones: most heads have to be almost right to get anywhere.
    prop_oneof![3 => prop::sample::select(&list[..2]), 1 => prop::sample::select(list)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_the_gateway_lets_in_a_second_reader_reads_alike(
        (method, target, version) in (piece(&METHODS), piece(&TARGETS), piece(&VERSIONS)),
        host in piece(&FIELDS),
        fields in prop::collection::vec((prop::sample::select(&FIELDS[..]), prop::sample::select(&ENDS[..])), 0..3),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let mut raw = format!("{method} {target} {version}\r\n{host}\r\n");
        for (field, end) in fields {
            raw.push_str(field);
            raw.push_str(end);
        }
        raw.push_str("\r\n");
        let mut raw = raw.into_bytes();
        for (at, byte) in changes {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        agree(&raw);
    }
}

#[test]
fn the_pieces_make_heads_that_are_let_in_and_heads_that_are_not() {
    let heads = TARGETS.iter().flat_map(|target| FIELDS.iter().map(move |field| (target, field)));
    let raws = heads.map(|(target, field)| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"));
    let (let_in, refused): (Vec<bool>, Vec<bool>) =
        raws.map(|raw| agree(raw.as_bytes())).partition(|is_let_in| *is_let_in);
    assert!(let_in.len() > 30 && refused.len() > 300, "{} and {}", let_in.len(), refused.len());
}
