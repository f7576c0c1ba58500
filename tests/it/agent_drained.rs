//! What a language model goes on saying when the agent that asked has hung up (agents.md section 4).
//! Law: it is read for what it cost, but neither for ever nor without end. What was not said by then stays
//! unknown: the whole reservation is charged, and the model is told that nobody listens.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::agent::{Scene, scene};
use crate::agent_llm::{prompt, routes};
use crate::support::Client;
use crate::support::upstream::spawn;

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1024 * 1024;
/// How long an answer to nobody is waited for.
const LISTENED_FOR: Duration = Duration::from_secs(30);
/// What the answer says in the end, if anybody hears it: 0.003 dollars.
const END: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":20}}\n\ndata: [DONE]\n\n";

/// What a model does once nobody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// Says nothing at all, from the beginning on.
    Mute,
    /// Has begun, and says no more.
    Stuck,
    /// Goes on for 64 MiB, and then says what it cost.
    Endless,
}

/// How much of an answer was taken after its beginning, and whether it was cut off before all was said.
#[derive(Debug)]
struct Heard {
    taken: usize,
    is_cut: bool,
}

/// A model that answers one request, and goes on when it is told that nobody listens.
struct Model {
    address: SocketAddr,
    /// The length of the request's body.
    asked: oneshot::Receiver<usize>,
    alone: oneshot::Sender<()>,
    heard: JoinHandle<Heard>,
}

impl Model {
    async fn start(speech: Speech) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((asks, asked), (alone, is_alone)) = (oneshot::channel(), oneshot::channel());
        let heard = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            asks.send(request(&mut stream).await).unwrap();
            if speech != Speech::Mute {
                let kind = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked";
                let begin = chunk("data: {\"choices\":[{\"delta\":{}}],\"usage\":null}\n\n");
                let text = format!("HTTP/1.1 200 OK\r\n{kind}\r\n\r\n{begin}");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            is_alone.await.unwrap();
            go_on(&mut stream, speech).await
        });
        Self { address, asked, alone, heard }
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Reads a request with a length; the length.
async fn request(stream: &mut TcpStream) -> usize {
    let mut text = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0, "the request ends early");
        let seen = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let Some((head, body)) = seen.split_once("\r\n\r\n") else { continue };
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let length = length.expect("a length").parse().expect("a number");
        if body.len() == length {
            return length;
        }
    }
}

/// Says what is left to say.
async fn go_on(stream: &mut TcpStream, speech: Speech) -> Heard {
    let mut taken = 0;
    if speech != Speech::Endless {
        // Nothing more is sent, so what can be read is the end.
        let ended = stream.read(&mut [0; 1]).await;
        return Heard { taken, is_cut: matches!(ended, Ok(0) | Err(_)) };
    }
    let piece = chunk(&format!("data: {{\"choices\":[],\"text\":\"{}\"}}\n\n", "x".repeat(MIB / 16)));
    while taken < 64 * MIB {
        if stream.write_all(piece.as_bytes()).await.is_err() {
            return Heard { taken, is_cut: true };
        }
        taken += piece.len();
    }
    let end = format!("{}0\r\n\r\n", chunk(END));
    Heard { taken, is_cut: stream.write_all(end.as_bytes()).await.is_err() }
}

/// An agent has asked a model and hung up.
struct HungUp {
    scene: Scene,
    token: i64,
    /// All of it, in dollars.
    reserved: f64,
    heard: JoinHandle<Heard>,
}

impl HungUp {
    async fn on(speech: Speech) -> Self {
        let Model { address, asked, alone, heard } = Model::start(speech).await;
        // The upstream's own patience is none that could be taken for ours.
        let scene =
            scene(&routes(address).replace("breaker: 'off'", "breaker: 'off', timeouts: { read: 10m }"))
                .await;
        let (token, text) = scene.rich(1.0).await;
        let mut client = Client::connect(scene.gateway.public()).await;
        client.send(prompt("/v1/stream", &text, r#"{"model":"m","stream":true}"#)).await;
        let length = asked.await.unwrap();
        if speech != Speech::Mute {
            assert!(client.until(b"delta").await.is_some(), "it begins");
        }
        drop(client);
        alone.send(()).unwrap();
        // A token of the prompt for each byte, and 500 dear ones of the answer.
        let reserved = f64::from(u32::try_from(length + 50_000).unwrap()) / 1e6;
        Self { scene, token, reserved, heard }
    }

    async fn charged_in_full(self) -> Heard {
        let heard =
            timeout(2 * LISTENED_FOR, self.heard).await.expect("it is told that nobody listens").unwrap();
        self.scene.spends(self.token, self.reserved).await;
        heard
    }
}

#[tokio::test]
async fn h3_an_answer_without_end_is_read_for_16_mib_and_then_cut_off_and_charged_in_full() {
    let Heard { taken, is_cut } = HungUp::on(Speech::Endless).await.charged_in_full().await;
    // Beside what was read, what lies in the buffers of two sockets.
    assert!(is_cut && (15 * MIB..48 * MIB).contains(&taken), "{taken} of {}", 64 * MIB);
}

/// By the clock on the wall: what is waited for is the end of a pause, which comes however slow the machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_a_model_that_says_no_more_is_waited_for_half_a_minute_and_then_cut_off_and_charged_in_full() {
    let waited = async |speech: Speech| {
        let hung_up = HungUp::on(speech).await;
        let began = Instant::now();
        let heard = hung_up.charged_in_full().await;
        assert!(heard.is_cut, "{speech:?}");
        assert!(
            began.elapsed() > LISTENED_FOR.saturating_sub(SECOND),
            "{speech:?}: it might have said what it cost"
        );
    };
    futures::join!(waited(Speech::Mute), waited(Speech::Stuck));
}
