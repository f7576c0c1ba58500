//! A generator and a backend in one thread that never sleeps, for what is measured in microseconds.
//! Law: a request costs this thread four system calls and little else, because a generator that is busy
//! when an answer comes takes its own queue for the proxy's.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::backend::ANSWER;
use crate::load::{self, Outcome, Pace, Request};

const LISTENER: Token = Token(usize::MAX);
/// More than any head or answer here.
const ROOM: usize = 16 * 1024;

/// One side's sockets.
struct Side {
    poll: Poll,
    events: Events,
}

impl Side {
    fn new() -> Self {
        Self { poll: Poll::new().expect("the system polls"), events: Events::with_capacity(256) }
    }

    /// What is ready now; nobody waits.
    fn look(&mut self) -> Vec<Token> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO)).expect("the system polls");
        self.events.iter().map(mio::event::Event::token).collect()
    }

    fn watch(&self, stream: std::net::TcpStream, token: Token) -> TcpStream {
        stream.set_nonblocking(true).expect("a socket takes options");
        stream.set_nodelay(true).expect("a socket takes options");
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, token, Interest::READABLE).expect("the system polls");
        stream
    }
}

/// Reads what there is; false where the other side has closed.
fn read_all(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; ROOM];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return false,
            Ok(read) => {
                buffer.extend_from_slice(&piece[..read]);
                // A read that did not fill the room has emptied the socket.
                if read < ROOM {
                    return true;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
    }
}

/// Answers each request at once.
pub struct Backend {
    side: Side,
    listener: TcpListener,
    streams: Vec<Option<(TcpStream, Vec<u8>)>>,
}

impl Backend {
    pub fn listen() -> Self {
        let side = Side::new();
        let mut listener =
            TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port");
        side.poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("the system polls");
        Self { side, listener, streams: Vec::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    fn turn(&mut self) {
        for token in self.side.look() {
            if token == LISTENER {
                while let Ok((stream, _)) = self.listener.accept() {
                    let stream = self.side.watch(stream.into(), Token(self.streams.len()));
                    self.streams.push(Some((stream, Vec::with_capacity(ROOM))));
                }
            } else if !self.streams[token.0].as_mut().is_some_and(answer) {
                self.streams[token.0] = None;
            }
        }
    }
}

/// Whether the connection goes on.
fn answer((stream, buffer): &mut (TcpStream, Vec<u8>)) -> bool {
    let goes_on = read_all(stream, buffer);
    while let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
        buffer.drain(..end + 4);
        if stream.write_all(ANSWER).is_err() {
            return false;
        }
    }
    goes_on
}

/// Connections to one proxy, kept from one run to the next.
pub struct Client {
    side: Side,
    to: SocketAddr,
    head: Vec<u8>,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// When the request that is on its way was due.
    due: Option<Instant>,
}

impl Client {
    pub fn of(request: &Request, connections: usize) -> Self {
        let side = Side::new();
        let mut client =
            Self { side, to: request.to, head: request.heads[0].clone(), connections: Vec::new() };
        for index in 0..connections {
            let connection = client.connect(index);
            client.connections.push(connection);
        }
        client
    }

    fn connect(&self, index: usize) -> Connection {
        let stream = std::net::TcpStream::connect(self.to).expect("the proxy accepts");
        let stream = self.side.watch(stream, Token(index));
        Connection { stream, buffer: Vec::with_capacity(ROOM), due: None }
    }

    /// Sends at this pace for `span`, and ends when all are answered. Latency counts from the moment at
    /// which a request was due, not from the one at which there was a connection for it.
    pub fn drive(&mut self, backend: &mut Backend, span: Duration, pace: Pace) -> Outcome {
        let started = Instant::now();
        let mut idle: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut latencies = Vec::with_capacity(1 << 17);
        let mut moments = match pace {
            Pace::Closed => None,
            Pace::PerSecond(rate) => Some(load::moments(rate, started, span).peekable()),
        };
        loop {
            let now = Instant::now();
            let is_over = match &mut moments {
                None => now >= started + span,
                Some(moments) => moments.peek().is_none(),
            };
            while !is_over && !idle.is_empty() {
                let due = match &mut moments {
                    None => now,
                    Some(moments) => match moments.next_if(|due| *due <= now) {
                        Some(due) => due,
                        None => break,
                    },
                };
                let index = idle.pop_front().expect("one is idle");
                self.send(index, due);
            }
            backend.turn();
            for Token(index) in self.side.look() {
                if let Some(due) = self.receive(index) {
                    latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
                    idle.push_back(index);
                }
            }
            if is_over && idle.len() == self.connections.len() {
                return Outcome::of(latencies, started.elapsed());
            }
        }
    }

    fn send(&mut self, index: usize, due: Instant) {
        let connection = &mut self.connections[index];
        connection.stream.write_all(&self.head).expect("the proxy reads");
        connection.due = Some(due);
    }

    /// When the request was due whose answer is whole now.
    fn receive(&mut self, index: usize) -> Option<Instant> {
        let connection = &mut self.connections[index];
        let goes_on = read_all(&mut connection.stream, &mut connection.buffer);
        let buffer = &connection.buffer;
        let due = memmem::find(buffer, b"\r\n\r\n").and_then(|end| {
            assert!(buffer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(buffer));
            let is_whole = buffer.len() >= end + 4 + load::length_of(&buffer[..end + 4]);
            connection.due.take_if(|_| is_whole)
        });
        assert!(goes_on || connection.due.is_none(), "the proxy closed in the middle of an answer");
        let closes = !goes_on || memmem::find(&connection.buffer, b"onnection: close").is_some();
        if due.is_some() {
            connection.buffer.clear();
        }
        if closes && connection.due.is_none() {
            self.connections[index] = self.connect(index);
        }
        due
    }
}
