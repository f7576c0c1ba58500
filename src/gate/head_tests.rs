use super::*;
use crate::base::random::SeededRandom;
use crate::gate::request_id::RequestIds;
use crate::gate::rules::Hardening;
use crate::gate::target::{Doubtful, TargetRules};
use crate::policy::Host;

fn rules() -> EdgeRules {
    EdgeRules {
        hosts: vec![Host::parse("a.example").unwrap()],
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        target: TargetRules { encoded_slash: Doubtful::Refuse, params: Doubtful::Refuse, max: 8192 },
        head_max: 32 * 1024,
        fields_max: 100,
        hardening: Hardening::On,
    }
}

struct Sent<'a> {
    method: &'a str,
    target: &'a str,
    fields: &'a [(&'a str, &'a str)],
    peer: &'a str,
    version: Version,
}

impl Default for Sent<'_> {
    fn default() -> Self {
        Self {
            method: "GET",
            target: "/x",
            fields: &[("host", "a.example")],
            peer: "192.0.2.1:9",
            version: Version::HTTP_11,
        }
    }
}

fn read(sent: &Sent<'_>) -> Result<Box<RequestHead>, Rejection> {
    let mut headers = HeaderMap::new();
    for (name, value) in sent.fields {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let method = Method::from_bytes(sent.method.as_bytes()).unwrap();
    let arrival = Arrival {
        method: &method,
        raw_target: sent.target.as_bytes(),
        uri_authority: None,
        version: sent.version,
        has_ended: false,
        headers: &headers,
        raw: None,
        peer: sent.peer.parse().unwrap(),
        peer_text: &text_of(sent.peer.parse::<SocketAddr>().unwrap().ip()),
        scheme: Scheme::Http,
        at: Timestamp::from_millis(0),
    };
    let id = RequestIds::new(&SeededRandom::new(1)).take(None);
    RequestHead::read(&arrival, id, &rules())
}

fn with_fields(fields: &[(&str, &str)]) -> Result<Box<RequestHead>, Rejection> {
    let mut all = vec![("host", "a.example")];
    all.extend_from_slice(fields);
    read(&Sent { fields: &all, ..Sent::default() })
}

#[test]
fn only_listed_hosts_are_answered_for() {
    let host = |host: &str| read(&Sent { fields: &[("host", host)], ..Sent::default() }).map(|_| ());
    assert_eq!(host("A.example:8080"), Ok(()));
    assert_eq!(host("b.example"), Err(Rejection::Misdirected));
    assert_eq!(host("a/b"), Err(Rejection::Malformed(Flaw::Host)));
    let missing = read(&Sent { fields: &[], ..Sent::default() });
    assert_eq!(missing.unwrap_err(), Rejection::Malformed(Flaw::Host));
}

#[test]
fn only_methods_that_the_gate_can_judge_pass() {
    for method in ["TRACE", "TRACK", "get", "PROPFIND", "CONNECT", "FOO"] {
        let sent = Sent { method, ..Sent::default() };
        assert_eq!(read(&sent).unwrap_err(), Rejection::MethodUnknown, "{method}");
    }
}

#[test]
fn an_absolute_target_is_read_as_its_path_when_it_names_the_same_host() {
    let target =
        |target: &str| read(&Sent { target, ..Sent::default() }).map(|head| head.target.as_str().to_owned());
    assert_eq!(target("http://a.example/p?q").as_deref(), Ok("/p?q"));
    assert_eq!(target("HTTPS://A.example").as_deref(), Ok("/"));
    for bad in ["http://b.example/p", "ftp://a.example/p", "http://u@a.example/p", "*", "a.example:80", "x"] {
        assert_eq!(target(bad), Err(Rejection::Malformed(Flaw::Target)), "{bad}");
    }
}

#[test]
fn a_header_that_decides_may_stand_only_once() {
    for name in ["authorization", "origin", "x-org-slug", "x-access-key", "content-type", "host"] {
        let twice = [(name, "a.example"), (name, "a.example")];
        assert_eq!(with_fields(&twice).unwrap_err(), Rejection::Malformed(Flaw::Duplicate), "{name}");
    }
    assert_eq!(
        with_fields(&[("content-length", "3"), ("content-length", "3")]).unwrap_err(),
        Rejection::Malformed(Flaw::Framing)
    );
}

#[test]
fn cookies_sent_in_crumbs_are_read_as_one() {
    let head = with_fields(&[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
    assert_eq!(head.presented.cookie.unwrap(), "a=1; b=2");
}

#[test]
fn forwarded_headers_count_only_from_a_trusted_proxy() {
    let fields =
        [("host", "a.example"), ("x-forwarded-for", "1.2.3.4, 10.1.1.1"), ("x-forwarded-proto", "https")];
    let from = |peer: &str| read(&Sent { fields: &fields, peer, ..Sent::default() }).unwrap();
    let stranger = from("192.0.2.1:9");
    assert_eq!((stranger.client.to_string().as_str(), stranger.scheme), ("192.0.2.1", Scheme::Http));
    let proxy = from("10.0.0.1:9");
    assert_eq!((proxy.client.to_string().as_str(), proxy.scheme), ("1.2.3.4", Scheme::Https));
    for head in [stranger, proxy] {
        assert!(head.removed.contains(&HeaderName::from_static("x-forwarded-for")));
    }
}

#[test]
fn names_of_the_gateway_are_marked_for_removal() {
    let head =
        with_fields(&[("x_user_id", "1"), ("x-user-id", "2"), ("x-user-id", "3"), ("x-mine", "4")]).unwrap();
    let names: Vec<&str> = head.removed.iter().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x_user_id", "x-user-id"]);
}

#[test]
fn a_websocket_handshake_has_no_body() {
    let handshake = [("upgrade", "WebSocket"), ("connection", "keep-alive, Upgrade")];
    assert_eq!(with_fields(&handshake).unwrap().kind, Kind::WebSocket);
    let mut with_body = handshake.to_vec();
    with_body.push(("content-length", "4"));
    assert_eq!(with_fields(&with_body).unwrap_err(), Rejection::Malformed(Flaw::Upgrade));
    let other = with_fields(&[("upgrade", "h2c"), ("connection", "upgrade")]).unwrap();
    assert_eq!(other.kind, Kind::Plain);
    assert!(other.removed.contains(&header::UPGRADE));
}

#[test]
fn only_the_exact_expectation_is_understood() {
    assert!(with_fields(&[("expect", "100-Continue")]).unwrap().expects_continue);
    for value in ["y 100-continue", "", "200-ok", "100-continue, x"] {
        assert_eq!(with_fields(&[("expect", value)]).unwrap_err(), Rejection::ExpectationFailed, "{value:?}");
    }
}

#[test]
fn a_head_has_bounds() {
    let many: Vec<(&str, &str)> = std::iter::repeat_n(("x-a", "1"), 100).collect();
    assert_eq!(with_fields(&many).unwrap_err(), Rejection::HeadTooLarge);
    let big = "v".repeat(33 * 1024);
    assert_eq!(with_fields(&[("x-a", &big)]).unwrap_err(), Rejection::HeadTooLarge);
    let long = format!("/{}", "a".repeat(8192));
    assert_eq!(read(&Sent { target: &long, ..Sent::default() }).unwrap_err(), Rejection::TargetTooLong);
}

#[test]
fn a_browser_on_its_way_to_a_page_is_told_from_a_program() {
    assert!(with_fields(&[("accept", "text/html,*/*")]).unwrap().is_navigation());
    assert!(with_fields(&[("sec-fetch-mode", "navigate")]).unwrap().is_navigation());
    assert!(!with_fields(&[("sec-fetch-mode", "cors"), ("accept", "text/html")]).unwrap().is_navigation());
    assert!(!with_fields(&[("accept", "*/*")]).unwrap().is_navigation());
}
