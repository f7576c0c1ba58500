//! A caller who asks once and hangs up.
//! Law: what is measured is what a caller waits for, a connection of its own and the whole answer included.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub async fn get(to: SocketAddr, path: &str, token: &str) -> Answer {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n\
         Accept-Encoding: identity\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    send(to, &head).await
}

pub async fn post(to: SocketAddr, path: &str, body: &str) -> Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    send(to, &request).await
}

async fn send(to: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(to).await.expect("the gateway accepts");
    stream.write_all(request.as_bytes()).await.expect("the gateway reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("the gateway answers");
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    Answer { status: status.expect("a status"), body: body.expect("an end of the head") }
}
