//! The backend behind every proxy of the benchmark: answers each request with the same 200, or with
//! a model's stream where the path asks for one.
//! Law: it does the least work that HTTP/1.1 keep-alive allows, so that the proxy is what is measured.

use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n\
    {\"report\": \"quarterly\", \"status\": \"final\"}";
const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// What OpenAI sends for each token to who wants to be told the usage.
const EVENT: &str = "data: {\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\
    \"created\":1741569952,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" margin\"},\
    \"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT\",\"object\":\"chat.completion.chunk\",\
    \"created\":1741569952,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":400,\
    \"total_tokens\":419}}\n\ndata: [DONE]\n\n";
/// Ends of paths, and the events of such a stream beside its last: one every two milliseconds, or all
/// of them as fast as they are taken.
pub const PACED: (&str, usize) = ("/paced", 400);
pub const BURST: (&str, usize) = ("/burst", 10_000);
const PAUSE: Duration = Duration::from_millis(2);
const PIECE: usize = 16 * 1024;

/// Serves for ever; prints its address first.
pub async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("ready {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer_all(stream));
    }
}

async fn answer_all(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while let Some(head) = memmem::find(&buffer, b"\r\n\r\n") {
            let end = head + 4 + body_length(&buffer[..head]);
            if buffer.len() < end {
                break;
            }
            let line = &buffer[..memchr::memchr(b'\r', &buffer).unwrap_or(head)];
            let written = match line {
                line if memmem::find(line, PACED.0.as_bytes()).is_some() => paced(&mut stream).await,
                line if memmem::find(line, BURST.0.as_bytes()).is_some() => burst(&mut stream).await,
                _ => stream.write_all(ANSWER).await,
            };
            if written.is_err() {
                return;
            }
            buffer.drain(..end);
        }
    }
}

/// How many bytes follow a head. Only prompts have any.
fn body_length(head: &[u8]) -> usize {
    if !head.starts_with(b"POST") {
        return 0;
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

async fn paced(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(STREAM).await?;
    let mut ticks = tokio::time::interval(PAUSE);
    let event = chunk(EVENT);
    for _ in 0..PACED.1 {
        ticks.tick().await;
        stream.write_all(&event).await?;
    }
    end(stream).await
}

async fn burst(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(STREAM).await?;
    let at_once = PIECE / EVENT.len();
    let full = chunk(&EVENT.repeat(at_once));
    for _ in 0..BURST.1 / at_once {
        stream.write_all(&full).await?;
    }
    stream.write_all(&chunk(&EVENT.repeat(BURST.1 % at_once))).await?;
    end(stream).await
}

async fn end(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&[&chunk(USAGE)[..], b"0\r\n\r\n"].concat()).await
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}
