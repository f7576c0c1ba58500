//! Where the gateway's own calls may go.
//!
//! Law: unless a place is meant to be private, nothing but public addresses is called, whatever a
//! name resolves to at that moment; and an address that is written out is looked at as well,
//! because nobody resolves it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{ClientBuilder, Url, redirect};

use super::tls::{self, Unusable};
use crate::base::ip;

/// What a client tells of an address that may not be called.
pub const PRIVATE: &str = "its address is private, and `allow_private` is not set";

/// Which addresses may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of machines on the internet.
    Public,
    /// Those of this machine and of private networks too.
    Private,
}

impl Reach {
    /// What the word `allow_private` of the configuration means.
    #[must_use]
    pub const fn of(allow_private: bool) -> Self {
        if allow_private { Self::Private } else { Self::Public }
    }

    /// Whether this address may be called.
    #[must_use]
    pub fn admits(self, address: IpAddr) -> bool {
        self == Self::Private || ip::is_public(address)
    }

    /// Whether this URL may be called, as far as one can tell before its name is resolved.
    #[must_use]
    pub fn admits_url(self, url: &Url) -> bool {
        url.host_str().and_then(literal).is_none_or(|address| self.admits(address))
    }
}

/// A client that follows no redirect, knows no proxy, and calls only what it may.
///
/// # Errors
/// [`Unusable`].
pub fn builder(
    reach: Reach,
    authorities: Option<&[u8]>,
    timeout: Duration,
) -> Result<ClientBuilder, Unusable> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(authorities)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    Ok(match reach {
        Reach::Public => client.dns_resolver(Arc::new(PublicOnly)),
        Reach::Private => client,
    })
}

/// What went wrong, without the error's own text: it holds the URL, and that may hold a password.
#[must_use]
pub fn problem(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<Private>() {
            return PRIVATE;
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection, or no TLS that can be trusted"
    } else {
        "the connection ended without an answer"
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Resolves names to public addresses, each time anew.
struct PublicOnly;

/// A name has no public address.
#[derive(Debug)]
struct Private;

impl std::fmt::Display for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(PRIVATE)
    }
}

impl std::error::Error for Private {}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| ip::is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(Private.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_of_this_machine_has_no_public_address() {
        let resolved = PublicOnly.resolve("localhost".parse().unwrap()).await;
        assert!(resolved.is_err_and(|error| error.is::<Private>()));
    }

    #[test]
    fn an_address_that_is_written_out_is_looked_at() {
        for text in
            ["https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://0x7f.1/", "https://2130706433/"]
        {
            let url: Url = text.parse().unwrap();
            assert!(!Reach::Public.admits_url(&url) && Reach::Private.admits_url(&url), "{text}");
        }
        assert!(Reach::Public.admits_url(&"https://1.1.1.1/".parse().unwrap()));
    }
}
