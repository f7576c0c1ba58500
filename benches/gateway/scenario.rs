//! What is measured: configurations of the gateway, and who calls.
//! Law: set-up goes through the front door (the command line and the login endpoint), so that a
//! scenario cannot measure a gateway that nobody could run.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use portcullis::account::{self, NewAccount};
use portcullis::app::App;
use portcullis::audit::{Actor, How};
use portcullis::base::{Email, Id, SystemClock, SystemRandom};
use portcullis::crypto::jwt;
use portcullis::crypto::keyring::Purpose;
use portcullis::store::DEFAULT_SITE;
use portcullis::{config, server, session};

use crate::front::{agent_bearer, bearer, head, log_in, mint};
use crate::load::Request;

pub const EMAIL: &str = "bench@example.com";
pub const PASSWORD: &str = "Ample-Margin-42-Kites";
/// More than a run can use up before the first has left the cache of verified tokens.
const FRESH_TOKENS: usize = 60_000;
pub const ONE: Agents = Agents { live: 1, in_use: 1 };

/// One line of the table.
pub struct Scenario {
    /// What `--only` calls it.
    pub row: &'static str,
    pub name: &'static str,
    pub must: &'static str,
    pub aim: &'static str,
    caller: Caller,
    /// Routes beside those that are called.
    routes: usize,
    accounts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anyone,
    Bearer,
    /// Each request shows a token that the gateway has not seen.
    FreshBearer,
    /// Agents: the double check, and each request counted against a rate, a total and a budget.
    Agents(Agents),
}

/// How many agent tokens there are, and how many of them call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Agents {
    pub live: usize,
    pub in_use: usize,
}

/// What a gateway stands on, where it is not a file beside its configuration and its own memory.
#[derive(Default)]
pub struct Ground {
    pub store: Option<String>,
    pub shared: Option<String>,
}

pub fn public() -> Scenario {
    let (row, name, routes, accounts) = ("public", "public route", 8, 0);
    Scenario { row, name, must: "1.20", aim: "1.10", caller: Caller::Anyone, routes, accounts }
}

pub fn warm_bearer() -> Scenario {
    let (row, name) = ("bearer", "bearer, permission, identity headers, assertion");
    Scenario { row, name, must: "1.35", aim: "1.20", caller: Caller::Bearer, routes: 8, accounts: 1 }
}

pub fn agents(agents: Agents) -> Scenario {
    let (row, name) = ("agent", "agent, double check, rate, total, flat budget");
    Scenario { row, name, must: "1.60", aim: "1.35", caller: Caller::Agents(agents), ..warm_bearer() }
}

pub fn all() -> Vec<Scenario> {
    vec![
        public(),
        warm_bearer(),
        Scenario { row: "routes", name: "the same, 10,000 routes", routes: 10_000, ..warm_bearer() },
        Scenario { row: "accounts", name: "the same, 100,000 accounts", accounts: 100_000, ..warm_bearer() },
        Scenario {
            row: "fresh",
            name: "tokens never seen (EdDSA)",
            must: "",
            aim: "",
            caller: Caller::FreshBearer,
            ..warm_bearer()
        },
        agents(ONE),
    ]
}

/// A directory with a configuration, a store and an account that may read reports.
pub struct Prepared {
    directory: tempfile::TempDir,
    caller: Caller,
}

impl Scenario {
    pub async fn prepare(&self, backend: SocketAddr) -> Prepared {
        self.prepare_on(backend, Ground::default()).await
    }

    pub async fn prepare_on(&self, backend: SocketAddr, ground: Ground) -> Prepared {
        let directory = directory().expect("a temporary directory");
        let prepared = Prepared { directory, caller: self.caller };
        let yaml = self.yaml(backend, prepared.directory.path(), ground);
        std::fs::write(prepared.config(), yaml).expect("it is writable");
        prepared.command(&["user", "create", EMAIL, "--verified", "--password-stdin"], PASSWORD);
        prepared.command(&["user", "grant", EMAIL, "--permission", "reports.read"], "");
        if self.accounts > 1 {
            prepared.fill(self.accounts).await;
        }
        prepared
    }

    fn yaml(&self, backend: SocketAddr, directory: &Path, ground: Ground) -> String {
        let at = directory.display();
        let store = ground.store.unwrap_or_else(|| format!("sqlite://{at}/bench.db"));
        let shared = ground.shared.unwrap_or_else(|| "memory".to_owned());
        let mut yaml = format!(
            "preset: development\n\
             listen: {{ public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }}\n\
             store: '{store}'\n\
             shared: '{shared}'\n\
             keys: {{ seal_file: {at}/seal.key }}\n\
             applications: {{ required: nowhere }}\n\
             agents: {{ max_tokens: 0 }}\n\
             limits: {{ connections: {{ total: 20000, per_address: 20000 }} }}\n\
             permissions: [ {{ code: reports.read }} ]\n\
             upstreams: {{ reports: {{ servers: [\"{backend}\"], assertion: identity }} }}\n\
             routes:\n\
             \x20 - {{ name: open, match: {{ path: /open, methods: [GET] }}, upstream: reports, allow: anyone }}\n\
             \x20 - {{ name: read, match: {{ path: \"/reports/**\", methods: [GET] }}, upstream: reports, allow: {{ permission: reports.read }} }}\n\
             \x20 - {{ name: paid, match: {{ path: \"/paid/**\", methods: [GET] }}, upstream: reports, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ flat_usd: 0.01 }} }} }}\n\
             \x20 - {{ name: models, match: {{ path: \"/models/**\", methods: [POST] }}, upstream: reports, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read, cost: {{ llm: openai, prices: {{ m: {{ input: 1, output: 10 }} }}, output_max: 4096 }} }} }}\n\
             \x20 - {{ name: plain, match: {{ path: \"/plain/**\", methods: [GET] }}, upstream: reports, allow: {{ permission: reports.read }}, agents: {{ permission: reports.read }} }}\n"
        );
        for number in 0..self.routes {
            let _ = writeln!(
                yaml,
                "  - {{ name: r{number}, match: {{ path: \"/area{}/{{id}}/item{number}\", methods: [GET] }}, upstream: reports, allow: signed_in }}",
                number % 100
            );
        }
        yaml
    }
}

/// In memory where there is such a place: thousands of agents are minted one after the other.
fn directory() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

impl Prepared {
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("portcullis.yaml")
    }

    fn command(&self, arguments: &[&str], input: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the command starts");
        let mut stdin = child.stdin.take().expect("its input is piped");
        stdin.write_all(input.as_bytes()).expect("the command reads");
        drop(stdin);
        assert!(child.wait().expect("the command ends").success(), "{arguments:?}");
    }

    /// The request that the scenario repeats.
    pub async fn request(&self, to: SocketAddr) -> Request {
        let heads = match self.caller {
            Caller::Anyone => vec![head("/open", to, "")],
            Caller::Bearer => vec![head("/reports/q3", to, &bearer(&log_in(to).await))],
            Caller::Agents(Agents { live, in_use }) => {
                let tokens = mint(to, &log_in(to).await, live).await;
                tokens.iter().take(in_use).map(|token| head("/paid/q3", to, &agent_bearer(token))).collect()
            }
            Caller::FreshBearer => {
                let token = log_in(to).await;
                self.siblings(&token)
                    .await
                    .iter()
                    .map(|token| head("/reports/q3", to, &bearer(token)))
                    .collect()
            }
        };
        Request { to, heads }
    }
}

impl Prepared {
    /// The operator's side of the store, for what no command makes in such numbers.
    async fn app(&self) -> Arc<App> {
        let loaded = config::load(&self.config()).expect("the configuration has no problems");
        server::operate(&loaded.config, Arc::new(SystemClock), Arc::new(SystemRandom))
            .await
            .expect("the store opens")
    }

    /// So many more accounts, through the same operation as everybody's.
    async fn fill(&self, accounts: usize) {
        const AT_ONCE: usize = 1000;
        let app = self.app().await;
        for first in (0..accounts).step_by(AT_ONCE) {
            let mut change = app.change(Actor::command_line()).await.expect("the store takes a change");
            for number in first..(first + AT_ONCE).min(accounts) {
                let email = Email::parse(&format!("person{number}@example.com")).expect("an address");
                let new = NewAccount { email: Some(email), ..NewAccount::of(DEFAULT_SITE) };
                account::create(&mut change, &new, How::Administrator).await.expect("the address is free");
            }
            change.commit().await.expect("the store takes the accounts");
        }
    }

    /// Tokens of the same session that differ in their `jti`, so that each is met once.
    async fn siblings(&self, token: &str) -> Vec<String> {
        let app = self.app().await;
        let (keyring, config, now) = (app.keyring(), app.config(), app.now());
        let claims = session::read_access(&keyring, &config.tokens, token, now).expect("a token of ours");
        let key = keyring.active(Purpose::Access, now).expect("a key to sign with");
        let sibling = |_| {
            let jti = Id::new(now, app.random.as_ref());
            jwt::sign(key, jwt::ACCESS, &session::Claims { jti, ..claims.clone() }).expect("it is signed")
        };
        (0..FRESH_TOKENS).map(sibling).collect()
    }
}
