//! The access log and the numbers of ended requests.
//!
//! Law: one line per request, with ids and no secret, no query, no address of a person. A request
//! never waits for the log: lines go into a buffer that a thread of its own writes out, and what
//! does not fit is counted as lost.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::http::Method;

use super::ctx::Ctx;
use super::decide::Found;
use super::forward::Subject;
use crate::base::{Clock, Id, Timestamp};
use crate::gate::{Rejection, RequestHead};
use crate::metrics::{self, Class, Dependency, Metrics, RouteMetrics};

/// Written out at the latest after this time.
const PAUSE: Duration = Duration::from_millis(100);
/// The writer is woken when so much is waiting.
const WAKE: usize = 64 * 1024;
/// Above this lines are lost: the output does not keep up.
const FULL: usize = 8 * 1024 * 1024;

/// How long the last lines may take.
const LAST_WITHIN: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLog {
    On,
    Off,
}

/// Counts and writes down every request that has ended.
pub struct Recorder {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    /// Requests that no route was found for.
    unrouted: Arc<RouteMetrics>,
    /// The gateway's own endpoints.
    built_in: Arc<RouteMetrics>,
    log: AccessLog,
    shared: Arc<Buffer>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Buffer {
    waiting: Mutex<Vec<u8>>,
    wake: Condvar,
    is_closing: AtomicBool,
}

thread_local! {
    /// Lines are written here first, so that threads wait for each other no longer than a copy takes.
    static DRAFT: RefCell<Draft> = RefCell::default();
}

#[derive(Default)]
struct Draft {
    bytes: Vec<u8>,
    second: i64,
    /// The text of `second`, up to the full stop.
    stamp: String,
}

impl Recorder {
    /// Starts the writer's thread. `out` is where lines go.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        log: AccessLog,
        out: Box<dyn Write + Send>,
    ) -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Buffer::default());
        let buffer = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || buffer.drain(out))?;
        let (unrouted, built_in) = (metrics.route("-"), metrics.route("built-in"));
        Ok(Arc::new(Self {
            metrics,
            clock,
            unrouted,
            built_in,
            log,
            shared,
            writer: Mutex::new(Some(writer)),
        }))
    }

    pub(super) const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn record(&self, line: &Line<'_>) {
        let route = match line.found {
            Found::Route(route) => &route.metrics,
            Found::BuiltIn => &self.built_in,
            Found::Nothing => &self.unrouted,
        };
        let class = if line.status == 0 { Class::Cut } else { Class::of(line.status) };
        route.finished(method_label(line.method), class, line.took);
        if let Some(dependency) = line.lacks {
            self.metrics.unavailable(dependency);
        }
        // What a route refuses, the gate counts.
        if let (Some(reason), Found::Nothing) = (line.reason, line.found) {
            route.refused(reason);
        }
        if self.log == AccessLog::Off {
            return;
        }
        let now = self.clock.now();
        DRAFT.with_borrow_mut(|draft| {
            draft.write(now, line);
            self.hand_over(&draft.bytes);
        });
    }

    fn hand_over(&self, line: &[u8]) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() > FULL {
            self.metrics.log_line_dropped();
            return;
        }
        let was_little = waiting.len() <= WAKE;
        waiting.extend_from_slice(line);
        let is_much = waiting.len() > WAKE;
        drop(waiting);
        if was_little && is_much {
            self.shared.wake.notify_one();
        }
    }

    /// Writes out what waits and ends the thread; blocks for a second at most.
    pub fn close(&self) {
        self.shared.is_closing.store(true, Ordering::SeqCst);
        self.shared.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A writer that is stuck has nobody who reads, and is left behind.
        let begun = Instant::now();
        while writer.as_ref().is_some_and(|writer| !writer.is_finished()) && begun.elapsed() < LAST_WITHIN {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Buffer {
    fn drain(&self, mut out: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        loop {
            let is_last = self.is_closing.load(Ordering::SeqCst);
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.len() <= WAKE && !is_last {
                    (waiting, _) =
                        self.wake.wait_timeout(waiting, PAUSE).unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::swap(&mut *waiting, &mut batch);
            }
            // A log that cannot be written must not stop the gateway.
            drop(out.write_all(&batch).and_then(|()| out.flush()));
            batch.clear();
            if is_last {
                return;
            }
        }
    }
}

/// What the log says about one request.
pub(super) struct Line<'a> {
    id: &'a str,
    method: &'a Method,
    head: Option<&'a RequestHead>,
    status: u16,
    found: &'a Found,
    upstream: Option<&'a str>,
    server: Option<&'a str>,
    reason: Option<&'static str>,
    /// What did not answer, where the request was refused for it.
    lacks: Option<Dependency>,
    /// Why it would have been refused, were its route not in shadow mode.
    shadow: Option<&'a str>,
    subject: Option<Subject>,
    took: Duration,
    upstream_took: Option<Duration>,
    tries: u32,
    bytes_in: u64,
    bytes_out: u64,
}

impl<'a> Line<'a> {
    pub(super) fn of(ctx: &'a Ctx, now: Instant) -> Self {
        let forward = ctx.forward.as_deref();
        Self {
            id: ctx.request_id(),
            method: &ctx.method,
            head: ctx.head.as_deref(),
            status: ctx.ending.status,
            found: &ctx.found,
            upstream: forward.map(|f| f.upstream.name()),
            server: ctx.attempt.server.as_deref(),
            reason: ctx.refusal.as_ref().map(Rejection::label),
            lacks: ctx.refusal.as_ref().and_then(Rejection::lacks),
            shadow: forward.and_then(|f| f.shadow),
            subject: forward.and_then(|f| f.subject),
            took: now.saturating_duration_since(ctx.started),
            upstream_took: ctx.attempt.head_took,
            tries: ctx.attempt.count,
            bytes_in: ctx.body.bytes,
            bytes_out: ctx.ending.bytes_out,
        }
    }
}

impl Draft {
    fn write(&mut self, now: Timestamp, line: &Line<'_>) {
        if now.as_secs() != self.second || self.stamp.is_empty() {
            self.second = now.as_secs();
            self.stamp = Timestamp::from_millis(self.second * 1000).rfc3339();
            self.stamp.truncate("2026-11-20T10:21:37.".len());
        }
        let millis = now.as_millis().rem_euclid(1000);
        let out = &mut self.bytes;
        out.clear();
        out.extend_from_slice(b"{\"at\":\"");
        out.extend_from_slice(self.stamp.as_bytes());
        out.extend([millis / 100, millis / 10 % 10, millis % 10].map(digit));
        out.extend_from_slice(b"Z\",\"kind\":\"access\"");
        plain(out, "id", line.id);
        plain(out, "method", line.method.as_str());
        if let Some(head) = line.head {
            plain(out, "host", head.authority.as_str());
            match line.found {
                Found::BuiltIn => plain(out, "path", &without_tokens(head.target.path())),
                Found::Nothing | Found::Route(_) => plain(out, "path", head.target.path()),
            }
        }
        number(out, "status", line.status.into());
        number(out, "took_us", micros(line.took));
        if let Found::Route(route) = line.found {
            text(out, "route", &route.rule.name);
        }
        if let Some(name) = line.upstream {
            text(out, "upstream", name);
        }
        if let Some(server) = line.server {
            plain(out, "server", server);
            number(out, "tries", line.tries.into());
        }
        if let Some(took) = line.upstream_took {
            number(out, "upstream_us", micros(took));
        }
        if let Some(reason) = line.reason {
            plain(out, "reason", reason);
        }
        if let Some(reason) = line.shadow {
            plain(out, "shadow", reason);
        }
        if let Some(subject) = line.subject {
            plain(out, "account", subject.account.encode(&mut [0; Id::LENGTH]));
            if let Some(session) = subject.session {
                plain(out, "session", session.encode(&mut [0; Id::LENGTH]));
            }
            if let Some(agent) = subject.agent {
                let _ = write!(out, ",\"agent\":\"{agent}\"");
            }
        }
        number(out, "in", line.bytes_in);
        number(out, "out", line.bytes_out);
        out.extend_from_slice(b"}\n");
    }
}

/// A name of the configuration, which may hold anything.
fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    if is_plain(value) {
        return field(out, key, value);
    }
    let quoted = serde_json::Value::from(value).to_string();
    field(out, key, &quoted[1..quoted.len() - 1]);
}

/// Paths of our own endpoints name what they are about, approvals by a token that decides nothing
/// and yet belongs in no log. No name in them is as long as a token.
fn without_tokens(path: &str) -> Cow<'_, str> {
    const TOKEN_MIN: usize = 40;
    if path.split('/').all(|part| part.len() < TOKEN_MIN) {
        return Cow::Borrowed(path);
    }
    let known: Vec<&str> =
        path.split('/').map(|part| if part.len() < TOKEN_MIN { part } else { "***" }).collect();
    Cow::Owned(known.join("/"))
}

/// What never holds anything to escape: our own words, ids, a canonical path, a valid host.
fn plain(out: &mut Vec<u8>, key: &str, value: &str) {
    debug_assert!(is_plain(value), "{key}: {value:?}");
    field(out, key, value);
}

fn field(out: &mut Vec<u8>, key: &str, value: &str) {
    out.reserve(key.len() + value.len() + 6);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":\"");
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\')
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The digit of a number below ten.
fn digit(number: i64) -> u8 {
    b'0' + u8::try_from(number).unwrap_or(0)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn method_label(method: &Method) -> metrics::Method {
    match *method {
        Method::GET => metrics::Method::Get,
        Method::HEAD => metrics::Method::Head,
        Method::POST => metrics::Method::Post,
        Method::PUT => metrics::Method::Put,
        Method::PATCH => metrics::Method::Patch,
        Method::DELETE => metrics::Method::Delete,
        Method::OPTIONS => metrics::Method::Options,
        _ => metrics::Method::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::base::SystemClock;

    struct Out(mpsc::Sender<Vec<u8>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if !bytes.is_empty() {
                self.0.send(bytes.to_vec()).unwrap();
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn tokens_in_our_own_paths_stay_out_of_the_log() {
        let path = format!("/api/v1/auth/ai/pending-actions/{}/confirm/", "x".repeat(86));
        assert_eq!(without_tokens(&path), "/api/v1/auth/ai/pending-actions/***/confirm/");
        let by_id = "/api/v1/auth/ai/tokens/01922f5e-7b1c-7000-8000-000000000000/suspend/";
        assert_eq!(without_tokens(by_id), by_id);
    }

    #[test]
    fn what_was_recorded_is_written_before_the_recorder_closes() {
        let (sender, lines) = mpsc::channel();
        let metrics = Arc::new(Metrics::new("0"));
        let recorder =
            Recorder::start(metrics, Arc::new(SystemClock), AccessLog::On, Box::new(Out(sender))).unwrap();
        let line = Line {
            id: "r-1",
            method: &Method::GET,
            head: None,
            status: 404,
            found: &Found::Nothing,
            upstream: Some("a \"name\"\n"),
            server: Some("127.0.0.1:9"),
            reason: Some("no_route"),
            lacks: None,
            shadow: None,
            subject: None,
            took: Duration::from_micros(12),
            upstream_took: None,
            tries: 1,
            bytes_in: 3,
            bytes_out: 4,
        };
        recorder.record(&line);
        recorder.record(&line);
        recorder.close();
        let written: Vec<u8> = lines.iter().flatten().collect();
        let written = String::from_utf8(written).unwrap();
        assert_eq!(written.lines().count(), 2);
        for line in written.lines() {
            let json: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(json["id"], "r-1");
            assert_eq!(json["status"], 404);
            assert_eq!(json["upstream"], "a \"name\"\n");
            assert_eq!(json["reason"], "no_route");
            assert_eq!(json["in"], 3);
        }
    }
}
