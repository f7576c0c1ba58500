//! A gateway of a test's own, in this process.
//!
//! Law: it is started and stopped by the same calls as the program's.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portcullis::base::{Clock, SystemClock, SystemRandom};
use portcullis::config::{self, Loaded};
use portcullis::proxy::upstream::{Names, SystemNames};
use portcullis::server::{Running, Start, StartError, start};
use tempfile::TempDir;

use super::log::Watch;
use super::raw::PATIENCE;

/// A running gateway; its store and files are gone when it is dropped, and its log is looked at.
pub struct Gateway {
    pub running: Running,
    pub folder: TempDir,
    log: Log,
    _watch: Watch,
}

impl Gateway {
    /// Starts a gateway with this configuration. What it does not say is filled in: the preset
    /// `development`, free ports, a store and a seal key of its own.
    pub async fn start(yaml: &str) -> Self {
        Self::try_start(yaml).await.unwrap_or_else(|error| panic!("the gateway does not start: {error}"))
    }

    /// The same where it may fail.
    pub async fn try_start(yaml: &str) -> Result<Self, StartError> {
        Self::start_in(tempfile::tempdir().expect("a folder"), yaml).await
    }

    /// The same with files of the test's own beside it.
    pub async fn start_in(folder: TempDir, yaml: &str) -> Result<Self, StartError> {
        Self::start_by(Arc::new(SystemClock), folder, yaml).await
    }

    /// The same by a clock that the test moves.
    pub async fn start_by(clock: Arc<dyn Clock>, folder: TempDir, yaml: &str) -> Result<Self, StartError> {
        Self::start_with(clock, Arc::new(SystemNames), folder, yaml).await
    }

    /// The same where names stand for what the test says.
    pub async fn start_knowing(names: Arc<dyn Names>, yaml: &str) -> Self {
        Self::start_knowing_by(Arc::new(SystemClock), names, yaml).await
    }

    /// The same by a clock of the test's own.
    pub async fn start_knowing_by(clock: Arc<dyn Clock>, names: Arc<dyn Names>, yaml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let started = Self::start_with(clock, names, folder, yaml).await;
        started.unwrap_or_else(|error| panic!("the gateway does not start: {error}"))
    }

    async fn start_with(
        clock: Arc<dyn Clock>,
        names: Arc<dyn Names>,
        folder: TempDir,
        yaml: &str,
    ) -> Result<Self, StartError> {
        let loaded = load(yaml, &folder);
        let (log, random) = (Log::default(), Arc::new(SystemRandom));
        let begin = Start { loaded, clock, random, names, access_log: Box::new(log.clone()) };
        let watch = Watch::begin();
        Ok(Self { running: start(begin).await?, folder, log, _watch: watch })
    }

    /// A gateway that forwards everything to one upstream, to everyone.
    pub async fn open_to(upstream: SocketAddr) -> Self {
        Self::start(&open_to(upstream)).await
    }

    pub fn public(&self) -> SocketAddr {
        self.running.public
    }

    pub fn admin(&self) -> SocketAddr {
        self.running.admin
    }

    /// What `yaml` means here, for a reload.
    pub fn load(&self, yaml: &str) -> Loaded {
        load(yaml, &self.folder)
    }

    /// The lines of the access log so far, once every request has ended and all of them are written.
    pub async fn access_log(&self) -> Vec<serde_json::Value> {
        let start = Instant::now();
        loop {
            // The end of a request is counted after its line is handed over.
            let has_ended = self.metric("portcullis_inflight ") == 0;
            let bytes = self.log.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).expect("the log is text");
            if has_ended && text.lines().count() >= self.finished() || start.elapsed() > PATIENCE {
                return text
                    .lines()
                    .map(|line| serde_json::from_str(line).expect("a line is JSON"))
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many requests have ended.
    fn finished(&self) -> usize {
        let text = self.running.app.metrics.render();
        let lines = text.lines().filter(|line| line.starts_with("portcullis_requests_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    }

    /// The value of a metric's line that begins so; zero when there is none.
    pub fn metric(&self, line: &str) -> i64 {
        let text = self.running.app.metrics.render();
        let value = text.lines().find_map(|l| l.strip_prefix(line)).map(str::trim);
        value.map_or(0, |value| value.parse().expect("a whole number"))
    }
}

/// The configuration of [`Gateway::open_to`].
pub fn open_to(upstream: SocketAddr) -> String {
    format!(
        "upstreams: {{ up: {{ servers: ['{upstream}'] }} }}\n\
         routes: [ {{ name: all, match: {{ path: '/**' }}, upstream: up, allow: anyone, websocket: true }} ]\n"
    )
}

fn load(yaml: &str, folder: &TempDir) -> Loaded {
    let has = |key: &str| yaml.lines().any(|line| line.starts_with(key));
    let mut text = String::new();
    let mut add = |key: &str, value: String| {
        if !has(&format!("{key}:")) {
            text.extend([key, ": ", &value, "\n"]);
        }
    };
    let path = |name: &str| folder.path().join(name).display().to_string();
    add("preset", "development".to_owned());
    add("listen", "{ public: '127.0.0.1:0', admin: '127.0.0.1:0' }".to_owned());
    // A machine that is busy with other tests is no store that is gone.
    add("store", format!("{{ url: 'sqlite://{}', timeout: 6s }}", path("gateway.db")));
    add("keys", format!("{{ seal_file: '{}' }}", path("seal.key")));
    text.push_str(yaml);
    config::load_text(&text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
