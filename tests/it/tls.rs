//! TLS on both sides: what the gateway shows to clients, and what it asks of upstreams.
//!
//! Law: verification is never switched off, and a broken certificate never replaces a good one.

use std::time::{Duration, Instant};

use http::Request;

use crate::support::gateway::open_to;
use crate::support::h2::{H2Client, H2Upstream};
use crate::support::raw::{PATIENCE, get};
use crate::support::tls::{Pair, connect, in_front_of, speaking};
use crate::support::{Client, Gateway, Upstream, exchange};

pub(crate) async fn with_tls(extra: &str, upstream: std::net::SocketAddr) -> (Gateway, Pair) {
    let own = Pair::for_name("gw.test");
    let folder = tempfile::tempdir().unwrap();
    own.write(folder.path(), "gw");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let yaml = format!(
        "security_headers: true\npublic_url: 'https://gw.test'\n\
         listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0', tls: {{ cert_file: '{}', key_file: '{}'{extra} }} }}\n{}",
        path("gw.crt"),
        path("gw.key"),
        open_to(upstream)
    );
    (Gateway::start_in(folder, &yaml).await.unwrap(), own)
}

#[tokio::test]
async fn tls_speaks_http1_and_http2_as_the_client_likes() {
    let upstream = Upstream::echo().await;
    let (gateway, own) = with_tls("", upstream.address).await;
    let stream = connect(gateway.public(), "gw.test", &own, &[b"http/1.1"]).await.unwrap();
    let mut client = Client::over(stream);
    client.send(get("/one", &[])).await;
    let answer = client.answer().await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("strict-transport-security").is_some());
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
    let stream = connect(gateway.public(), "gw.test", &own, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let client = H2Client::over(stream).await;
    let sent = Request::builder().uri("https://gw.test/two").body(()).unwrap();
    assert_eq!(client.send(sent, None).await.unwrap().head.status(), 200);
    assert_eq!(upstream.last().target(), "/two");
    assert_eq!(upstream.last().header("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn plain_http_is_only_sent_to_https() {
    let upstream = Upstream::echo().await;
    let (gateway, _) = with_tls(", redirect: '127.0.0.1:0'", upstream.address).await;
    let answer = exchange(gateway.running.redirect.unwrap(), get("/a?b=c", &[])).await.unwrap();
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://gw.test/a?b=c")));
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let upstream = Upstream::echo().await;
    let (gateway, old) = with_tls("", upstream.address).await;
    let mut held = Client::over(connect(gateway.public(), "gw.test", &old, &[b"http/1.1"]).await.unwrap());
    held.send(get("/before", &[])).await;
    assert_eq!(held.answer().await.unwrap().status, 200);
    let new = Pair::for_name("gw.test");
    std::fs::write(gateway.folder.path().join("gw.crt"), "half").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(connect(gateway.public(), "gw.test", &old, &[b"http/1.1"]).await.is_ok(), "the old one stays");
    new.write(gateway.folder.path(), "gw");
    let deadline = Instant::now() + PATIENCE;
    while connect(gateway.public(), "gw.test", &new, &[b"http/1.1"]).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    held.send(get("/held", &[])).await;
    assert_eq!(held.answer().await.unwrap().status, 200, "open connections keep theirs");
}

#[tokio::test]
async fn an_upstreams_certificate_is_verified() {
    let plain = Upstream::echo().await;
    let (own, other) = (Pair::for_name("up.test"), Pair::for_name("up.test"));
    let secure = in_front_of(plain.address, &own, None).await;
    for (trusted, sni, status) in [(&own, "up.test", 200), (&other, "up.test", 502), (&own, "else.test", 502)]
    {
        let folder = tempfile::tempdir().unwrap();
        trusted.write(folder.path(), "ca");
        let yaml = format!(
            "upstreams: {{ up: {{ servers: ['{secure}'], tls: {{ ca_file: '{}', sni: {sni} }} }} }}\n\
             routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n",
            folder.path().join("ca.crt").display()
        );
        let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
        assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, status, "{sni}");
    }
    assert_eq!(plain.count(), 1);
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_certificate_gets_ours() {
    let plain = Upstream::echo().await;
    let (own, ours) = (Pair::for_name("up.test"), Pair::for_name("gateway.test"));
    let secure = in_front_of(plain.address, &own, Some(&ours)).await;
    for (client, status) in [(", client_cert_file: 'me.crt', client_key_file: 'me.key'", 200), ("", 502)] {
        let folder = tempfile::tempdir().unwrap();
        own.write(folder.path(), "ca");
        ours.write(folder.path(), "me");
        let client = client.replace("'me.", &format!("'{}/me.", folder.path().display()));
        let yaml = format!(
            "upstreams: {{ up: {{ servers: ['{secure}'], tls: {{ ca_file: '{}', sni: up.test{client} }} }} }}\n\
             routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n",
            folder.path().join("ca.crt").display()
        );
        let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
        assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, status, "{client}");
    }
}

#[tokio::test]
async fn an_upstreams_authority_that_was_replaced_in_its_file_counts_from_the_next_reload() {
    let plain = Upstream::echo().await;
    let (own, other) = (Pair::for_name("up.test"), Pair::for_name("up.test"));
    let secure = in_front_of(plain.address, &own, None).await;
    let folder = tempfile::tempdir().unwrap();
    other.write(folder.path(), "ca");
    let file = folder.path().join("ca.crt");
    let yaml = format!(
        "upstreams: {{ up: {{ servers: ['{secure}'], tls: {{ ca_file: '{}', sni: up.test }} }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone }} ]\n",
        file.display()
    );
    let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 502);
    own.write(file.parent().unwrap(), "ca");
    gateway.running.reload(&gateway.load(&yaml)).await.unwrap();
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
    std::fs::write(&file, "no certificate").unwrap();
    gateway.running.reload(&gateway.load(&yaml)).await.expect_err("a broken file replaces nothing");
    assert_eq!(exchange(gateway.public(), get("/x", &[])).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upstream_speaks_http2_behind_tls() {
    let (modern, old) = (H2Upstream::start().await, Upstream::echo().await);
    let own = Pair::for_name("up.test");
    let folder = tempfile::tempdir().unwrap();
    own.write(folder.path(), "ca");
    let ca = folder.path().join("ca.crt").display().to_string();
    let yaml = format!(
        "upstreams:
  modern: {{ servers: ['{}'], http2: true, tls: {{ ca_file: '{ca}', sni: up.test }} }}
  old: {{ servers: ['{}'], http2: true, tls: {{ ca_file: '{ca}', sni: up.test }} }}
routes:
  - {{ name: modern, match: {{ path: '/modern/**' }}, upstream: modern, allow: anyone }}
  - {{ name: old, match: {{ path: '/old/**' }}, upstream: old, allow: anyone }}
",
        speaking(modern.address, &own, &[b"h2"]).await,
        speaking(old.address, &own, &[b"http/1.1"]).await,
    );
    let gateway = Gateway::start_in(folder, &yaml).await.unwrap();
    let post = "POST /modern/b HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 2\r\n\r\nhi";
    let asked = [(get("/modern/a?b=c", &[]), "/modern/a?b=c", ""), (post.to_owned(), "/modern/b", "hi")];
    for (number, (request, path, body)) in asked.iter().enumerate() {
        for _ in 0..2 {
            let answer = exchange(gateway.public(), request).await.unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, *body), "{path}");
            let seen = modern.last();
            assert_eq!((seen.path.as_str(), seen.body.as_slice()), (*path, body.as_bytes()));
        }
        // What has a body and what has none are sent over connections of their own.
        assert_eq!((modern.count(), modern.open()), (2 * number + 2, number + 1), "{path}");
    }
    let answer = exchange(gateway.public(), get("/old/a", &[])).await.unwrap();
    assert_eq!((answer.status, old.count()), (502, 0), "who speaks it not is not asked otherwise");
}
