//! The process as a whole: from a configuration to open listeners, and back down.
//!
//! Law: everything runs on one runtime, with sockets that were bound before anything was started.
//! A gateway that cannot start says why and leaves nothing behind; one that is told to stop says
//! so to its load balancer first, finishes what it began, and then ends.

mod assemble;
mod bridge;
mod chores;
mod endpoints;
mod errand;
mod operator;
mod reactions;
mod redirect;
mod reload;
mod room;
mod share;
mod signal;
mod steady;
mod stop;
mod supervisor;
mod sweep;

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::app::App;
use crate::base::{Clock, Random};
use crate::config::{self, Config, Loaded};
use crate::gate::request_id::RequestIds;
use crate::gate::{FromSlices, Gate};
use crate::keys;
use crate::metrics::Metrics;
use crate::proxy::tls::{Certificate, PemPair, Unusable};
use crate::proxy::upstream::Names;
use crate::proxy::{AccessLog, Caps, Edge, Patience, Phase, Public, Recorder, Speech};
use crate::shared::Unreachable;
use crate::shared::alone::{Alone, NotAlone};
use crate::store;

use assemble::Ground;
use bridge::{Bridge, InForce, Reach};
use errand::Sending;
use operator::Operator;
use redirect::Redirect;
use room::connections;
use steady::SteadyClock;

pub use assemble::operate;
pub use bridge::rules;
pub use endpoints::{document, permissions_asked, public};
pub use signal::run;

/// Bytes a second that a request's body must bring on average.
const BODY_RATE: u64 = 512;
/// Connections that the system keeps until they are accepted, as far as it allows: what all clients
/// of a gateway that was away for a moment make at once.
const WAITING: u32 = 4096;
/// How often certificate files are looked at.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(5);

/// What a gateway is started with.
pub struct Start {
    pub loaded: Loaded,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// How the servers of upstreams are found by name.
    pub names: Arc<dyn Names>,
    /// Where the access log goes.
    pub access_log: Box<dyn Write + Send>,
}

/// Why a gateway did not start, or a configuration was not taken over.
#[derive(Debug)]
pub enum StartError {
    Store(store::Error),
    Migration(store::migrate::Failure),
    Shared(Unreachable),
    NotAlone(NotAlone),
    Seal(config::NoSealKey),
    Keys(keys::Failure),
    Threads(std::io::Error),
    Certificate(Unusable),
    CertificateFile(std::io::Error),
    Tls(rustls::Error),
    Upstream {
        name: String,
        cause: Unusable,
    },
    /// Two routes could both win; `check` says which.
    Routes,
    Bind {
        address: SocketAddr,
        cause: std::io::Error,
    },
    /// A setting that only a restart can change.
    NeedsRestart(&'static str),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(cause) => write!(f, "the store does not answer: {cause}"),
            Self::Migration(cause) => write!(f, "the store was not migrated: {cause}"),
            Self::Shared(cause) => write!(f, "the shared state does not answer: {cause}"),
            Self::NotAlone(cause) => cause.fmt(f),
            Self::Seal(cause) => cause.fmt(f),
            Self::Keys(cause) => cause.fmt(f),
            Self::Threads(cause) => write!(f, "a thread could not be started: {cause}"),
            Self::Certificate(cause) => write!(f, "listen.tls: {cause}"),
            Self::CertificateFile(cause) => write!(f, "listen.tls: a file cannot be read: {cause}"),
            Self::Tls(cause) => write!(f, "TLS cannot be set up: {cause}"),
            Self::Upstream { name, cause } => write!(f, "upstreams.{name}.tls: {cause}"),
            Self::Routes => f.write_str("two routes could both win"),
            Self::Bind { address, cause } => write!(f, "cannot listen on {address}: {cause}"),
            Self::NeedsRestart(what) => write!(f, "{what} cannot change while the gateway runs: restart it"),
        }
    }
}

impl std::error::Error for StartError {}

/// A gateway that serves.
pub struct Running {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    pub redirect: Option<SocketAddr>,
    pub app: Arc<App>,
    bridge: Arc<Bridge>,
    names: Arc<dyn Names>,
    phase: watch::Sender<Phase>,
    /// The operator's listener closes last.
    admin_phase: watch::Sender<Phase>,
    /// How many of the others are still open.
    open: watch::Sender<usize>,
    recorder: Arc<Recorder>,
    alone: Option<Arc<Alone>>,
}

/// Starts a gateway.
///
/// # Errors
/// [`StartError`]; nothing is left listening.
pub async fn start(start: Start) -> Result<Running, StartError> {
    let sockets = Sockets::bind(&start.loaded.config)?;
    let public = sockets.address(&sockets.public)?;
    let config = reached_at(&start.loaded.config, public);
    let ground = Ground::new(Arc::new(SteadyClock::over(start.clock)), start.random);
    let (app, alone) = assemble::assemble(&config, &ground).await?;
    let reach = Reach::new(&config, None, &start.names, &ground.metrics, &ground.tasks).await?;
    reach.shows(true);
    let gate = open_gate(&app, &config)?;
    chores::of_gate(&app, &gate);
    let reach = InForce::new(reach);
    gate.ask(reach.clone());
    let bridge = Arc::new(Bridge { app: Arc::clone(&app), gate, reach });
    let recorder = Recorder::start(
        Arc::clone(&ground.metrics),
        Arc::clone(&ground.clock),
        AccessLog::On,
        start.access_log,
    )
    .map_err(StartError::Threads)?;
    let running = Running {
        public,
        admin: sockets.address(&sockets.admin)?,
        redirect: sockets.redirect.as_ref().map(|socket| sockets.address(socket)).transpose()?,
        app,
        bridge,
        names: start.names,
        phase: watch::Sender::new(Phase::Serving),
        admin_phase: watch::Sender::new(Phase::Serving),
        open: watch::Sender::new(0),
        recorder,
        alone,
    };
    running.open(sockets, &config)?;
    announce(&ground.metrics, &start.loaded);
    Ok(running)
}

/// Tells which configuration is in force, and what risks it takes.
fn announce(metrics: &Metrics, loaded: &Loaded) {
    metrics.config_loaded(&loaded.sha256);
    let insecure = || loaded.config.insecure.iter().map(|setting| setting.name());
    metrics.insecure_settings(insecure());
    for setting in insecure() {
        tracing::warn!(setting, "the configuration takes a risk that it names under `insecure`");
    }
}

/// A gate that decides by this configuration, asking the slices.
///
/// # Errors
/// [`StartError::Routes`].
pub fn open_gate(app: &Arc<App>, config: &Arc<Config>) -> Result<Arc<Gate>, StartError> {
    let slices = Arc::new(FromSlices::new(Arc::clone(app)));
    let built_in = Arc::new(public(config));
    let gate = Gate::new(Arc::clone(app), slices, Arc::clone(config), built_in);
    Ok(Arc::new(gate.map_err(|_| StartError::Routes)?))
}

/// The sockets of a gateway, bound and not yet served.
struct Sockets {
    public: TcpListener,
    admin: TcpListener,
    redirect: Option<TcpListener>,
}

impl Sockets {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let redirect = match config.listen.tls.as_ref().and_then(|tls| tls.redirect) {
            Some(address) => Some(bind(address)?),
            None => None,
        };
        Ok(Self { public: bind(config.listen.public)?, admin: bind(config.listen.admin)?, redirect })
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the sockets")]
    fn address(&self, socket: &TcpListener) -> Result<SocketAddr, StartError> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        socket.local_addr().map_err(|cause| StartError::Bind { address: unknown, cause })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    listener(address).map_err(|cause| StartError::Bind { address, cause })
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Else a gateway could not come back at once where its last connections have just ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

impl Running {
    /// Begins to serve the sockets.
    fn open(&self, sockets: Sockets, config: &Config) -> Result<(), StartError> {
        let patience = patience(config);
        room::make(config);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let ids = RequestIds::new(self.app.random.as_ref());
        let bridge: Arc<Bridge> = Arc::clone(&self.bridge);
        let edge = Edge::new(bridge, Arc::clone(&self.recorder), ids, patience, room::requests(config));
        errand::start(Sending {
            app: Arc::clone(&self.app),
            gate: Arc::clone(&self.bridge.gate),
            errands: edge.errands(),
            phase: self.phase.subscribe(),
            open: self.open.clone(),
        });
        let public = Public::new(edge, connections(config), threads, self.phase.subscribe());
        let speech = match &config.listen.tls {
            None => Speech::Plain { h2c: config.listen.h2c },
            Some(tls) => Speech::Tls(self.certificate(tls)?),
        };
        self.serve(
            "public listener",
            public.listen(sockets.public, &speech, patience).map_err(StartError::Tls)?,
        );
        let operator = Arc::new(Operator { app: Arc::clone(&self.app), pages: endpoints::operator(config) });
        let own = Caps { total: 64, per_address: 64 };
        let admin = public.beside(own, self.admin_phase.subscribe());
        self.app.tasks.spawn("admin listener", admin.listen_small(sockets.admin, operator, patience));
        if let Some(socket) = sockets.redirect {
            let redirect = Redirect { listen: config.listen.clone(), public_url: config.public_url.clone() };
            self.serve("redirect listener", public.listen_small(socket, Arc::new(redirect), patience));
        }
        Ok(())
    }

    fn serve(&self, name: &'static str, listener: impl Future<Output = ()> + Send + 'static) {
        self.open.send_modify(|count| *count += 1);
        let open = self.open.clone();
        self.app.tasks.spawn(name, async move {
            listener.await;
            open.send_modify(|count| *count -= 1);
        });
    }

    /// The public certificate, looked at again and again.
    fn certificate(&self, tls: &config::Tls) -> Result<Arc<Certificate>, StartError> {
        let mut pair = read_pair(tls).map_err(StartError::CertificateFile)?;
        let certificate = Certificate::new(&pair).map_err(StartError::Certificate)?;
        let (tls, watched) = (tls.clone(), Arc::clone(&certificate));
        let mut stopping = self.app.tasks.stopping();
        self.app.tasks.spawn("watch certificate", async move {
            loop {
                tokio::select! {
                    () = stopping.wait() => return,
                    () = tokio::time::sleep(CERTIFICATE_EVERY) => {}
                }
                match read_pair(&tls) {
                    Ok(now) if now == pair => {}
                    Ok(now) => {
                        match watched.replace(&now) {
                            Ok(()) => tracing::info!("the certificate was replaced"),
                            Err(cause) => tracing::error!(%cause, "the new certificate is not used"),
                        }
                        pair = now;
                    }
                    Err(error) => tracing::error!(%error, "the certificate's files cannot be read"),
                }
            }
        });
        Ok(certificate)
    }
}

/// The same configuration, knowing the port that was really bound.
fn reached_at(config: &Arc<Config>, public: SocketAddr) -> Arc<Config> {
    let public_url = config.public_url.bound_to(public.port());
    if public_url == config.public_url {
        return Arc::clone(config);
    }
    let mut config = (**config).clone();
    config.public_url = public_url;
    Arc::new(config)
}

fn patience(config: &Config) -> Patience {
    Patience {
        head: config.limits.head.within,
        idle: config.limits.connections.idle_for,
        body: config.limits.body.pause,
        body_rate: BODY_RATE,
        write: config.limits.body.pause,
    }
}

fn read_pair(tls: &config::Tls) -> std::io::Result<PemPair> {
    Ok(PemPair { chain: config::file::read(&tls.cert_file)?, key: config::file::read(&tls.key_file)? })
}
