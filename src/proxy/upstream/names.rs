//! From a server as the configuration has it to the addresses that it has now.
//!
//! Law: never for long, and never an address that would turn the gateway on itself or on what only
//! this machine should reach: a name is judged by what it stands for each time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::upstream::refused;
use crate::config::{Listen, Server};

/// A name that takes longer has no answer this time.
const WITHIN: Duration = Duration::from_secs(5);

/// Looks names up.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses of a host, with this port.
    ///
    /// # Errors
    /// What kept it from being looked up, which says nothing about the host.
    async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the system looks them up.
pub struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Where servers are, seen from a gateway that listens there.
#[derive(Clone)]
pub struct Lookup {
    pub names: Arc<dyn Names>,
    pub listen: Arc<Listen>,
}

impl Lookup {
    /// The addresses of a server, each once, without those that are not to be used.
    pub(super) async fn addresses(&self, server: &Server) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match server {
            Server::Address(address) => return Ok(vec![*address]),
            Server::Name { host, port } => (host.as_str(), *port),
        };
        let found = tokio::time::timeout(WITHIN, self.names.find(host, port)).await;
        let mut addresses = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        addresses.sort_unstable();
        addresses.dedup();
        addresses.retain(|address| match refused(*address, &self.listen) {
            None => true,
            Some(why) => {
                tracing::warn!(%server, %address, %why, "an address of a server is not used");
                false
            }
        });
        Ok(addresses)
    }
}
