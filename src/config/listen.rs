//! `listen`, `public_url`: where the gateway can be reached, and by which names.
//!
//! Law: a host outside `listen.hosts` is never served, so whatever names one must name one inside;
//! addresses of clients are believed only from networks that the file lists.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::insecure::{Insecure, Permitted};
use super::place::Place;
use super::problem::Report;
use super::scalar::{Address, As, HostName, ListOf, Maybe, Network};
use crate::policy::Host;

/// Addresses, names and TLS of the listeners.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listen")]
pub struct Listen {
    /// Proxied traffic and the built-in API. Port 0 picks a free one.
    #[serde(with = "As::<Address>")]
    pub public: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`, and the API's documentation when `api.docs` is `auto`.
    #[serde(with = "As::<Address>")]
    pub admin: SocketAddr,
    /// The names that are served; others get 421. Empty: any name.
    #[serde(with = "ListOf::<HostName>")]
    pub hosts: Vec<Host>,
    /// TLS for the public listener.
    pub tls: Option<Tls>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    #[serde(with = "ListOf::<Network>")]
    pub trusted_proxies: Vec<IpNet>,
    /// HTTP/2 without TLS on the public listener.
    pub h2c: bool,
}

/// Certificate and key, read again when the files change.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM: the certificate and the chain above it.
    pub cert_file: PathBuf,
    /// PEM: the private key.
    pub key_file: PathBuf,
    /// A plain-http listener that only redirects to https.
    #[serde(with = "Maybe::<Address>")]
    pub redirect: Option<SocketAddr>,
}

impl Listen {
    /// Whether a canonical host (lower case, no port) is served at all.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|own| own.matches(host))
    }

    /// Every address that this gateway itself listens on.
    pub fn own_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        [self.public, self.admin].into_iter().chain(self.tls.as_ref().and_then(|tls| tls.redirect))
    }

    pub(super) fn check(&self, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("listen");
        for (at, net) in self.trusted_proxies.iter().enumerate() {
            // Two halves of the internet are all of it; no network of one's own is wider than a /8.
            if net.prefix_len() < 8 && !permitted.has(Insecure::TrustAllProxies) {
                report
                    .problem(
                        &place.key("trusted_proxies").item(at),
                        format!("{net} trusts strangers: they could claim any address"),
                    )
                    .hint("list the addresses of your load balancers; `insecure: [trust_all_proxies]` accepts the risk");
            }
        }
        let addresses: Vec<SocketAddr> = self.own_addresses().filter(|own| own.port() != 0).collect();
        for (at, address) in addresses.iter().enumerate() {
            if addresses[..at].contains(address) {
                report.problem(&place, format!("two listeners cannot share {address}"));
            }
        }
        if self.h2c && self.tls.is_some() {
            report
                .problem(&place.key("h2c"), "with `tls`, HTTP/2 is negotiated and `h2c` does nothing")
                .hint("remove `h2c`");
        }
        if !self.admin.ip().to_canonical().is_loopback() {
            report
                .warning(
                    &place.key("admin"),
                    "metrics and readiness can be read by whoever reaches this address",
                )
                .hint("keep it on a network of your own");
        }
    }
}

/// The one source of absolute links: scheme, host and port by which clients reach the gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl {
    pub is_https: bool,
    /// In canonical form: lower case, IPv6 in brackets.
    pub host: String,
    pub port: u16,
    /// Whether the file said so, or it was taken from the listener.
    pub is_derived: bool,
}

impl PublicUrl {
    /// Parses `http(s)://host[:port]`, nothing more.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (is_https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("not a public URL: it begins with `https://` or `http://`".to_owned()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err("only scheme, host and port belong here".to_owned());
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
            }
            _ => (rest, if is_https { 443 } else { 80 }),
        };
        match Host::parse(host) {
            Ok(Host::Exact(host)) => Ok(Self { is_https, host: host.into(), port, is_derived: false }),
            _ => Err(format!("`{host}` is not a host in lower case")),
        }
    }

    /// The URL of a listener on loopback, where nothing else was said.
    pub(super) fn of_listener(listen: &Listen) -> Option<Self> {
        let ip = listen.public.ip();
        let host = match ip {
            std::net::IpAddr::V6(v6) => format!("[{v6}]"),
            std::net::IpAddr::V4(v4) => v4.to_string(),
        };
        ip.to_canonical().is_loopback().then(|| Self {
            is_https: listen.tls.is_some(),
            host,
            port: listen.public.port(),
            is_derived: true,
        })
    }

    /// The same with the port that was really bound, for a listener that asked for port 0.
    #[must_use]
    pub fn bound_to(&self, port: u16) -> Self {
        let port = if self.is_derived && self.port == 0 { port } else { self.port };
        Self { port, ..self.clone() }
    }

    /// Whether the host is this machine only.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    pub(super) fn check(&self, listen: &Listen, report: &mut Report, permitted: &mut Permitted) {
        let place = Place::root().key("public_url");
        if !listen.serves(&self.host) {
            report
                .problem(&place, format!("{} is not one of `listen.hosts`", self.host))
                .hint(format!("add `{}` to `listen.hosts`", self.host));
        }
        if !self.is_https && !self.is_loopback() && !permitted.has(Insecure::HttpCookies) {
            report
                .problem(&place, "over plain http, cookies and tokens can be read on the way")
                .hint("use https; `insecure: [http_cookies]` accepts the risk");
        }
        if !self.is_https && listen.tls.is_some() {
            report.problem(&place, "`listen.tls` is set, but this URL is http").hint("write `https://`");
        }
    }
}

impl fmt::Display for PublicUrl {
    /// The origin: without the port where that is the scheme's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.is_https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_an_origin() {
        for (text, shown) in [
            ("https://gw.example.com", "https://gw.example.com"),
            ("https://gw.example.com:443/", "https://gw.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:81", "http://[::1]:81"),
            ("https://[::1]", "https://[::1]"),
        ] {
            assert_eq!(PublicUrl::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "gw.example.com",
            "ftp://a",
            "https://a/b",
            "https://u@a",
            "https://A.b",
            "https://a:x",
            "https://",
            "https://*.a.b",
        ] {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }
}
