//! Other people's servers behind or before the gateway, to see whether they read what it sends as it does.
//!
//! Law: each runs on a free port of this machine with a configuration of the test's own, and ends
//! with the test. `scripts/need test` installs them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::free_port;

/// A running server.
pub struct Foreign {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Foreign {
    /// nginx, which passes what it reads on to `to`, as it read it.
    pub async fn nginx_before(to: SocketAddr) -> Self {
        let passes = format!(
            "location / {{ proxy_pass http://{to}; proxy_http_version 1.1; proxy_set_header Connection ''; \
             proxy_set_header Host $http_host; proxy_read_timeout 5s; }}"
        );
        Self::nginx(&passes).await
    }

    /// nginx with these locations.
    pub async fn nginx(locations: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let path = folder.path().display();
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = write!(temporary, "{kind}_temp_path {path}/{kind}; ");
        }
        let text = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; {temporary} underscores_in_headers on; ignore_invalid_headers off;\n\
             large_client_header_buffers 8 64k; keepalive_requests 100000;\n\
             server {{ listen {address}; {locations} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let arguments =
            ["-e", &format!("{path}/error.log"), "-c", &file.display().to_string()].map(str::to_owned);
        Self::run("nginx", &arguments, address, folder).await
    }

    /// HAProxy, which passes what it reads on to `to`.
    pub async fn haproxy_before(to: SocketAddr) -> Self {
        Self::haproxy(&format!("server one {to}")).await
    }

    /// HAProxy with such a backend.
    pub async fn haproxy(backend: &str) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let text = format!(
            "defaults\n mode http\n retries 0\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n\
             timeout http-request 5s\n timeout check 5s\n\
             frontend front\n bind {address}\n default_backend back\n\
             backend back\n {}\n",
            backend.replace('\n', "\n ")
        );
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        Self::run(
            "haproxy",
            &["-db".to_owned(), "-f".to_owned(), file.display().to_string()],
            address,
            folder,
        )
        .await
    }

    async fn run(name: &str, arguments: &[String], address: SocketAddr, folder: TempDir) -> Self {
        let beside = Path::new("/usr/sbin").join(name);
        let program = if beside.exists() { beside } else { name.into() };
        let mut child = Command::new(program);
        child.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = child
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}: run `make test`, which installs it"));
        let mut this = Self { address, child, folder };
        for _ in 0..1200 {
            if TcpStream::connect(address).await.is_ok() {
                return this;
            }
            if let Ok(Some(status)) = this.child.try_wait() {
                let said = std::fs::read_to_string(this.folder.path().join("error.log")).unwrap_or_default();
                panic!("{name} ended: {status}: {said}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} does not listen");
    }
}

/// An address on which nobody listens yet.
fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}
