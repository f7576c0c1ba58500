//! The same hygiene whatever way a request takes: without a body, with one that streams, over
//! HTTP/1.1 or HTTP/2 on either side, from nobody and from somebody (security bar 2.B).
//!
//! Law: under every spelling of our names the upstream sees exactly the gateway's value or nothing,
//! our credentials go no further, and an upstream says nothing in our name.

use std::net::SocketAddr;

use http::Request;

use crate::support::h2::{H2Client, H2Upstream};
use crate::support::people::{Keys, User, role};
use crate::support::raw::PATIENCE;
use crate::support::{Act, Client, Gateway, Upstream};

type Line = (String, String);

/// How a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bare,
    Sized,
    Chunked,
    Http2,
    Http2Data,
}

impl Way {
    const ALL: [Self; 5] = [Self::Bare, Self::Sized, Self::Chunked, Self::Http2, Self::Http2Data];

    fn body(self) -> &'static [u8] {
        if matches!(self, Self::Bare | Self::Http2) { b"" } else { b"hi" }
    }
}

/// What an upstream says that is not its to say.
const EVIL: &str = "X-User-Id: evil\r\nX_Org_Id: evil\r\nX-Portcullis-Assertion: evil\r\n\
                    X-Accel-Redirect: /evil\r\nX-Request-ID: evil\r\nConnection: X-Secret\r\nX-Secret: evil\r\n\
                    Set-Cookie: __Host-portcullis_session=evil; Secure\r\nSet-Cookie: portcullis_refresh=evil\r\n\
                    Set-Cookie: theirs=1\r\nX-Mine: 1\r\n";

/// Every one that the gateway stamps, and those that it only takes away.
const OURS: [&str; 14] = [
    "x-user-id",
    "x-user-email",
    "x-user-roles",
    "x-user-permissions",
    "x-org-id",
    "x-org-slug",
    "x-org-role",
    "x-agent-id",
    "x-auth-method",
    "x-portcullis-assertion",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
    "x-original-url",
];

fn spellings(name: &str) -> [String; 6] {
    [
        name.to_owned(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.replacen('-', "_", 1),
        name.replace('-', "."),
        name.to_uppercase().replace('-', "_"),
    ]
}

struct Scene {
    plain: Upstream,
    modern: H2Upstream,
    gateway: Gateway,
    keys: Keys,
    ada: User,
}

async fn scene() -> Scene {
    let plain = Upstream::start(|_| Act::with(EVIL, "x")).await;
    let modern = H2Upstream::start().await;
    let gateway = Gateway::start(&format!(
        "listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }}
upstreams: {{ plain: {{ servers: ['{}'] }}, modern: {{ servers: ['{}'], http2: true }} }}
permissions: [ {{ code: reports.read }} ]
roles: [ {{ code: analyst, permissions: [reports.read] }} ]
routes:
  - {{ name: a, match: {{ path: /plain/open }}, upstream: plain, allow: anyone }}
  - {{ name: b, match: {{ path: /plain/mine }}, upstream: plain, allow: {{ permission: reports.read }} }}
  - {{ name: c, match: {{ path: /modern/open }}, upstream: modern, allow: anyone }}
  - {{ name: d, match: {{ path: /modern/mine }}, upstream: modern, allow: {{ permission: reports.read }} }}
",
        plain.address, modern.address
    ))
    .await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    gateway.grant(ada.id, role("analyst")).await;
    Scene { plain, modern, gateway, keys, ada }
}

/// A client with one connection of each kind.
struct Caller {
    address: SocketAddr,
    plain: Client,
    /// Made when it is wanted: what asks nothing for a while is closed.
    modern: Option<H2Client>,
}

impl Caller {
    async fn of(gateway: &Gateway) -> Self {
        Self { address: gateway.public(), plain: Client::connect(gateway.public()).await, modern: None }
    }

    /// The status and the lines of the answer.
    async fn ask(&mut self, way: Way, path: &str, lines: &[Line]) -> (u16, Vec<Line>) {
        if matches!(way, Way::Http2 | Way::Http2Data) {
            return self.ask_modern(way, path, lines).await;
        }
        let method = if way == Way::Bare { "GET" } else { "POST" };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: gw.test\r\n");
        for (name, value) in lines {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str(match way {
            Way::Sized => "Content-Length: 2\r\n\r\nhi",
            Way::Chunked => "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            _ => "\r\n",
        });
        self.plain.send(text).await;
        let answer = self.plain.answer().await.unwrap_or_else(|| panic!("{way:?} {lines:?}: no answer"));
        if answer.header("connection") == Some("close") {
            self.plain = Client::connect(self.address).await;
        }
        (answer.status, answer.headers)
    }

    async fn ask_modern(&mut self, way: Way, path: &str, lines: &[Line]) -> (u16, Vec<Line>) {
        let method = if way == Way::Http2 { "GET" } else { "POST" };
        let mut request = Request::builder().method(method).uri(format!("http://gw.test{path}"));
        for (name, value) in lines {
            request = request.header(name.to_lowercase(), value);
        }
        let body = (way == Way::Http2Data).then_some(&b"hi"[..]);
        if self.modern.is_none() {
            self.modern = Some(H2Client::cleartext(self.address).await);
        }
        let modern = self.modern.as_ref().expect("it was made");
        let sent = modern.send(request.body(()).unwrap(), body);
        let answer = tokio::time::timeout(PATIENCE, sent).await.expect("in time");
        let head = answer.unwrap_or_else(|error| panic!("{way:?} {lines:?}: {error}")).head;
        let told = head.headers().iter();
        let told = told.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (head.status().as_u16(), told.collect())
    }
}

impl Scene {
    /// The lines and the body that reached the upstream last, with how many ever did.
    fn reached(&self, upstream: &str) -> (Vec<Line>, Vec<u8>, usize) {
        if upstream == "plain" {
            let seen = self.plain.last();
            let fields = seen.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
            let lines = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
            return (lines, seen.body, self.plain.count());
        }
        let seen = self.modern.last();
        let lines = seen.headers.iter();
        let lines = lines.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (lines.collect(), seen.body, self.modern.count())
    }

    /// The credentials of whoever asks for this route, and what the upstream is told about them.
    fn caller(&self, who: &str) -> (Vec<Line>, Vec<(&'static str, String)>) {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cookie = line("Cookie", "mine=1; portcullis_refresh=sesame; __Host-portcullis_session=sesame");
        if who == "open" {
            return (vec![cookie, line("Authorization", "Bearer sesame")], Vec::new());
        }
        let bearer = format!("Bearer {}", self.ada.access);
        let lines = vec![
            cookie,
            line("Authorization", &bearer),
            line("X-Access-Key", &self.keys.key),
            line("X-Access-Secret", &self.keys.secret),
        ];
        let told = vec![
            ("x-user-id", self.ada.id.to_string()),
            ("x-user-email", "ada@example.com".to_owned()),
            ("x-user-roles", "analyst".to_owned()),
            ("x-user-permissions", "reports.read".to_owned()),
            ("x-auth-method", "password".to_owned()),
        ];
        (lines, told)
    }
}

/// Every value under a name, spelled as careless backends read it.
fn folded<'a>(lines: &'a [Line], name: &str) -> Vec<&'a str> {
    let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    lines.iter().filter(|(n, _)| fold(n) == name).map(|(_, value)| value.as_str()).collect()
}

/// What holds of every request that reached an upstream.
fn check_request(context: &str, lines: &[Line], told: &[(&'static str, String)]) {
    let text = format!("{lines:?}");
    assert!(!text.contains("spoofed"), "{context} reached the upstream: {text}");
    assert!(!text.contains("sesame"), "{context}: a credential went on: {text}");
    assert_eq!(folded(lines, "cookie"), ["mine=1"], "{context}");
    for secret in ["authorization", "x-access-key", "x-access-secret"] {
        assert!(folded(lines, secret).is_empty(), "{context}: {text}");
    }
    for name in OURS {
        let stamped = folded(lines, name);
        if let Some((_, value)) = told.iter().find(|(told, _)| *told == name) {
            assert_eq!(stamped, [value.as_str()], "{context}: {name}");
        } else if name.starts_with("x-user") || name.starts_with("x-org") || name == "x-agent-id" {
            assert!(stamped.is_empty(), "{context}: {name} {stamped:?}");
        }
    }
    assert_eq!(folded(lines, "x-forwarded-for"), ["127.0.0.1"], "{context}");
}

fn check_answer(context: &str, lines: &[Line]) {
    assert!(!format!("{lines:?}").contains("evil"), "{context}: {lines:?}");
    assert_eq!(folded(lines, "set-cookie"), ["theirs=1"], "{context}");
    assert_eq!(folded(lines, "x-mine"), ["1"], "{context}: what is theirs passes");
    assert_eq!(folded(lines, "x-request-id").len(), 1, "{context}: {lines:?}");
}

/// Asks as this caller for one upstream on every way, under every spelling of every name.
async fn holds(upstream: &str, who: &str) {
    let scene = scene().await;
    let mut client = Caller::of(&scene.gateway).await;
    let (credentials, told) = scene.caller(who);
    let path = format!("/{upstream}/{who}");
    let mut sent = 0;
    for way in Way::ALL {
        for name in OURS {
            for spelling in spellings(name) {
                let context = format!("{way:?} {path} {spelling}");
                let mut lines = credentials.clone();
                // Twice, because a sanitizer that takes the first leaves the second.
                lines.extend(["spoofed", "spoofed2"].map(|value| (spelling.clone(), value.to_owned())));
                let (status, answered) = client.ask(way, &path, &lines).await;
                // This one is a question of the caller's: for which organization. There are not two.
                if spelling.eq_ignore_ascii_case("x-org-slug") {
                    assert!((400..500).contains(&status), "{context}: {status}");
                    continue;
                }
                sent += 1;
                assert_eq!(status, 200, "{context}");
                let (reached, body, count) = scene.reached(upstream);
                assert_eq!((count, body.as_slice()), (sent, way.body()), "{context}");
                check_request(&context, &reached, &told);
                if upstream == "plain" {
                    check_answer(&context, &answered);
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_speaks_in_our_name_to_an_http1_upstream_on_any_way() {
    holds("plain", "open").await;
}

#[tokio::test]
async fn somebody_speaks_in_nobodys_name_but_their_own_to_an_http1_upstream_on_any_way() {
    holds("plain", "mine").await;
}

#[tokio::test]
async fn nobody_speaks_in_our_name_to_an_http2_upstream_on_any_way() {
    holds("modern", "open").await;
}

#[tokio::test]
async fn somebody_speaks_in_nobodys_name_but_their_own_to_an_http2_upstream_on_any_way() {
    holds("modern", "mine").await;
}
