//! `upstreams`: the backends behind the gateway, and how they are reached.
//!
//! Law: a backend is never this gateway itself, a metadata service or an address that means "any":
//! what the file says is checked here, what a name resolves to by [`refused`] when it is used.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::insecure::{Insecure, Permitted};
use super::listen::Listen;
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use crate::policy::Host;

/// One backend of the file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// `ADDRESS:PORT` or `NAME:PORT`, one or several.
    #[schemars(length(min = 1))]
    pub servers: Vec<String>,
    pub balance: Balance,
    /// Asks each server regularly whether it is well.
    pub health: Option<Health>,
    pub timeouts: Timeouts,
    /// TLS towards the servers.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 towards the servers, as gRPC needs it.
    pub http2: bool,
    /// The `Host` that the servers see: `keep` (the client's), `server` (their own) or a name.
    pub host: String,
    /// How often a request is tried on another server when nothing was sent, or the method is
    /// idempotent.
    #[schemars(range(max = 5))]
    pub retries: u32,
    /// How many requests may be at the servers at once, all together; one more is answered 503.
    pub in_flight: Option<NonZeroU32>,
    /// Stops asking a backend that keeps failing; `off` never does.
    pub breaker: RawBreaker,
    /// What kind of signed statement about the caller the backend gets.
    pub assertion: Assertion,
}

/// How one of several servers is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    RoundRobin,
    LeastConnections,
}

/// A health check: `GET path` must answer 200 to 399.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked for. 200 to 399 is well.
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
    /// How often.
    #[serde(with = "As::<Span>")]
    pub every: Duration,
    /// How long an answer may take.
    #[serde(with = "As::<Span>")]
    pub timeout: Duration,
    /// Answers in a row until a failed server is used again.
    #[schemars(range(min = 1, max = 100))]
    pub healthy_after: u32,
    /// Failures in a row until a server is no longer used.
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_after: u32,
}

/// How long each step towards a server may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// The connection, TLS included.
    #[serde(with = "As::<Span>")]
    pub connect: Duration,
    /// The longest pause in an answer, and until it begins.
    #[serde(with = "As::<Span>")]
    pub read: Duration,
    /// The longest pause while the request is sent; an early answer is then waited for as `read` says.
    #[serde(with = "As::<Span>")]
    pub write: Duration,
    /// How long an unused connection is kept.
    #[serde(with = "As::<Span>")]
    pub idle: Duration,
}

/// TLS towards a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// PEM: the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The name to ask for and to verify, if it is not the server's.
    pub sni: Option<String>,
    /// PEM: a certificate by which the gateway identifies itself.
    pub client_cert_file: Option<PathBuf>,
    /// PEM: its private key.
    pub client_key_file: Option<PathBuf>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
}

/// `breaker` as the file writes it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum RawBreaker {
    Word(BreakerWord),
    Map(Breaker),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum BreakerWord {
    Off,
}

/// When a failing backend is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Failures within `within` that open the breaker.
    #[schemars(range(min = 1, max = 10000))]
    pub after: u32,
    /// The time in which failures are counted.
    #[serde(with = "As::<Span>")]
    pub within: Duration,
    /// How long requests are answered 503 before one is tried again.
    #[serde(with = "As::<Span>")]
    pub open_for: Duration,
}

/// The signed statement about the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Assertion {
    Off,
    /// Who calls.
    Identity,
    /// Who calls, and exactly this method, path and body.
    Request,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub servers: Vec<Server>,
    pub balance: Balance,
    pub health: Option<Health>,
    pub timeouts: Timeouts,
    pub tls: Option<UpstreamTls>,
    pub http2: bool,
    pub host: UpstreamHost,
    pub retries: u32,
    pub in_flight: Option<NonZeroU32>,
    pub breaker: Option<Breaker>,
    pub assertion: Assertion,
}

/// Where one server of a backend is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    Address(SocketAddr),
    /// Resolved again and again while the gateway runs.
    Name {
        host: String,
        port: u16,
    },
}

/// The `Host` that a server sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamHost {
    /// What the client asked for.
    Keep,
    /// The server's own name or address, as the file writes it.
    Server,
    Name(String),
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Why an address is no backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 169.254.0.0/16, fe80::/10 and what clouds use for metadata.
    LinkLocal,
    /// 0.0.0.0, ::, multicast, broadcast.
    NotOneHost,
    /// A listener of this gateway.
    Ourselves,
}

impl Refused {
    const fn hint(self) -> &'static str {
        match self {
            Self::LinkLocal => "a backend lives elsewhere",
            Self::NotOneHost => "write the address of the backend",
            Self::Ourselves => "write the address of the backend, not of the gateway",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LinkLocal => "link-local addresses are where clouds keep their metadata and credentials",
            Self::NotOneHost => "this address is not one host",
            Self::Ourselves => "this is a listener of the gateway itself",
        })
    }
}

/// Whether the gateway would be tricked if it sent requests to this address.
#[must_use]
pub fn refused(address: SocketAddr, listen: &Listen) -> Option<Refused> {
    let ip = address.ip().to_canonical();
    let metadata_v6 = "fd00:ec2::254".parse::<IpAddr>().ok();
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || Some(ip) == metadata_v6,
    };
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    let is_ours = |own: SocketAddr| {
        let own_ip = own.ip().to_canonical();
        own.port() == address.port() && (own_ip == ip || own_ip.is_unspecified() && ip.is_loopback())
    };
    if is_link_local {
        Some(Refused::LinkLocal)
    } else if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
        Some(Refused::NotOneHost)
    } else if listen.own_addresses().any(is_ours) {
        Some(Refused::Ourselves)
    } else {
        None
    }
}

impl RawUpstream {
    pub fn check(
        self,
        name: &str,
        listen: &Listen,
        report: &mut Report,
        permitted: &mut Permitted,
    ) -> Upstream {
        let place = Place::root().key("upstreams").key(name);
        let name_ok = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if !name_ok {
            report.problem(&place, "an upstream's name has lower-case letters, digits, `-`, `_` and `.`");
        }
        let mut servers = Vec::new();
        for (at, text) in self.servers.iter().enumerate() {
            let place = place.key("servers").item(at);
            match server(text, listen) {
                Ok(server) if servers.contains(&server) => {
                    report.problem(&place, format!("`{text}` is listed twice"));
                }
                Ok(server) => servers.push(server),
                Err(NotAServer::Refused(why)) => {
                    report.problem(&place, format!("`{text}`: {why}")).hint(why.hint());
                }
                Err(NotAServer::Form(why)) => {
                    report
                        .problem(&place, format!("`{text}`: {why}"))
                        .hint("write `127.0.0.1:9000` or `name:9000`");
                }
            }
        }
        let host = match self.host.as_str() {
            "keep" => UpstreamHost::Keep,
            "server" => UpstreamHost::Server,
            name => {
                if !matches!(Host::parse(name), Ok(Host::Exact(_))) {
                    report.problem(
                        &place.key("host"),
                        format!("`{name}` is neither `keep`, `server` nor a host"),
                    );
                }
                UpstreamHost::Name(name.to_owned())
            }
        };
        self.check_details(&place, report, permitted);
        Upstream {
            name: name.to_owned(),
            servers,
            balance: self.balance,
            health: self.health,
            timeouts: self.timeouts,
            tls: self.tls,
            http2: self.http2,
            host,
            retries: self.retries,
            in_flight: self.in_flight,
            breaker: match self.breaker {
                RawBreaker::Word(BreakerWord::Off) => None,
                RawBreaker::Map(breaker) => Some(breaker),
            },
            assertion: self.assertion,
        }
    }

    fn check_details(&self, place: &Place, report: &mut Report, permitted: &mut Permitted) {
        if let Some(health) = &self.health {
            let place = place.key("health");
            if !health.path.starts_with('/')
                || health.path.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                report.problem(&place.key("path"), "not a path such as `/healthz`");
            }
            if health.every < Duration::from_millis(100) || health.timeout.is_zero() {
                report.problem(&place, "`every` is at least 100ms, `timeout` more than nothing");
            }
        }
        for (key, span) in
            [("connect", self.timeouts.connect), ("read", self.timeouts.read), ("write", self.timeouts.write)]
        {
            if span.is_zero() {
                report
                    .problem(&place.key("timeouts").key(key), "no time at all")
                    .hint("remove it to get the default");
            }
        }
        let Some(tls) = &self.tls else { return };
        let place = place.key("tls");
        if !tls.verify && !permitted.has(Insecure::UnverifiedUpstream) {
            report
                .problem(&place.key("verify"), "without verification anyone on the way can be this upstream")
                .hint(
                    "name its authority with `ca_file`; `insecure: [unverified_upstream]` accepts the risk",
                );
        }
        if tls.client_cert_file.is_some() != tls.client_key_file.is_some() {
            report.problem(&place, "`client_cert_file` and `client_key_file` go together");
        }
    }
}

/// Why a text is not a server of a backend.
enum NotAServer {
    Form(&'static str),
    Refused(Refused),
}

fn server(text: &str, listen: &Listen) -> Result<Server, NotAServer> {
    use NotAServer::Form;
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match refused(address, listen) {
            Some(why) => Err(NotAServer::Refused(why)),
            None if address.port() == 0 => Err(Form("port 0 is not a port to connect to")),
            None => Ok(Server::Address(address)),
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or(Form("a port is missing"))?;
    let port: u16 = port.parse().map_err(|_| Form("this is not a port"))?;
    let Ok(Host::Exact(host)) = Host::parse(host) else {
        return Err(Form("neither an address nor a host name in lower case"));
    };
    // A name of digits and dots is an address in a spelling that some resolvers accept (`127.1`).
    let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
    if host.rsplit('.').next().is_none_or(is_number) {
        return Err(Form("this is not how an address is written"));
    }
    let is_loopback = &*host == "localhost" || host.ends_with(".localhost");
    let loopback = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
    if is_loopback && let Some(why) = refused(loopback, listen) {
        return Err(NotAServer::Refused(why));
    }
    if &*host == "metadata.google.internal" {
        return Err(NotAServer::Refused(Refused::LinkLocal));
    }
    if port == 0 {
        return Err(Form("port 0 is not a port to connect to"));
    }
    Ok(Server::Name { host: host.into(), port })
}
