//! Answers that go on while they are asked for: gRPC both ways at once, and events whoever asks however.
//!
//! Law: nothing waits for what comes after it. The other side says its next word when the one before has arrived,
//! so that a gateway which held one back would hold it for ever.

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::support::gateway::open_to;
use crate::support::h2::{H2Client, H2Upstream};
use crate::support::raw::{PATIENCE, get};
use crate::support::upstream::spawn;
use crate::support::{Client, Gateway};

const H2C: &str = "listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0', h2c: true }\n";

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://gw.test{path}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_call_talks_both_ways_at_once_and_ends_with_its_callers_session() {
    let upstream = H2Upstream::start().await;
    let gateway = Gateway::start(&format!(
        "{H2C}upstreams: {{ up: {{ servers: ['{}'], http2: true }} }}\n\
         routes: [ {{ name: chat, match: {{ path: '/pkg.Chat/**' }}, upstream: up, allow: signed_in }} ]\n",
        upstream.address
    ))
    .await;
    let keys = gateway.application("web", &[]).await;
    let ada = gateway.user("ada", &keys).await;
    let client = H2Client::cleartext(gateway.public()).await;
    let call = || {
        request("POST", "/pkg.Chat/Talk")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", ada.access))
            .body(())
            .unwrap()
    };
    let (answer, mut send) = client.begin(call()).await;
    let mut body = soon(answer).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        send.send_data(Bytes::from(word), false).unwrap();
        assert_eq!(soon(body.data()).await.unwrap().unwrap(), word);
    }
    send.send_data(Bytes::new(), true).unwrap();
    assert!(soon(body.data()).await.is_none());
    assert_eq!(soon(body.trailers()).await.unwrap().unwrap()["grpc-status"], "0");

    let (answer, mut send) = client.begin(call()).await;
    let mut body = soon(answer).await.unwrap().into_body();
    send.send_data(Bytes::from("one"), false).unwrap();
    assert_eq!(soon(body.data()).await.unwrap().unwrap(), "one");
    let lines = [&keys.lines()[..], &[ada.bearer()]].concat();
    let out = gateway.call("POST", "/logout/all/", &lines, &serde_json::Value::Null).await;
    assert_eq!(out.status, 200, "{}", out.text());
    let cut = soon(body.data()).await;
    assert!(matches!(cut, Some(Err(_))), "it is cut, and does not look whole: {cut:?}");
}

/// What comes before somebody would have given up.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A backend that tells an event whenever the test says so, and the end after an empty one.
async fn teller() -> (std::net::SocketAddr, mpsc::UnboundedSender<&'static str>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (say, mut said) = mpsc::unbounded_channel();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !is_whole(&request) {
                assert!(stream.read_buf(&mut request).await.is_ok_and(|count| count > 0), "a whole request");
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(head.as_bytes()).await;
            while let Some(event @ ("one" | "two" | "three")) = said.recv().await {
                let _ = stream.write_all(format!("data: {event}\n\n").as_bytes()).await;
            }
        }
    });
    (address, say)
}

/// Whether a request has come to its end, however its body is framed.
fn is_whole(request: &[u8]) -> bool {
    let end: &[u8] = if request.starts_with(b"POST") { b"0\r\n\r\n" } else { b"\r\n\r\n" };
    request.ends_with(end) || request.ends_with(b"question")
}

const EVENTS: [&str; 3] = ["one", "two", "three"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_one_by_one_whoever_asks_however() {
    let (upstream, say) = teller().await;
    let gateway = Gateway::start(&format!("{H2C}{}", open_to(upstream))).await;
    let question = "POST /events HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 8\r\n\r\nquestion";
    for asked in [get("/events", &[]), question.to_owned()] {
        let mut client = Client::connect(gateway.public()).await;
        client.send(&asked).await;
        for event in EVENTS {
            say.send(event).unwrap();
            soon(client.until(event.as_bytes())).await.unwrap();
        }
        say.send("").unwrap();
        soon(client.until(b"0\r\n\r\n")).await.expect("an end");
    }
    let client = H2Client::cleartext(gateway.public()).await;
    for (method, question) in [("GET", None), ("POST", Some("question"))] {
        let asked = request(method, "/events").body(()).unwrap();
        let answer = match question {
            None => client.ask(asked).await,
            Some(question) => {
                let (answer, mut send) = client.begin(asked).await;
                send.send_data(Bytes::from(question), true).unwrap();
                answer
            }
        };
        let mut body = soon(answer).await.unwrap().into_body();
        for event in EVENTS {
            say.send(event).unwrap();
            let piece = soon(body.data()).await.unwrap().unwrap();
            assert_eq!(piece, format!("data: {event}\n\n"), "{method}");
        }
        say.send("").unwrap();
        // The end may have a frame of its own, with nothing in it.
        while let Some(piece) = soon(body.data()).await {
            assert!(piece.expect("no reset").is_empty(), "{method}: it ends with the upstream's answer");
        }
    }
}
