//! The gateway over a store that is full, and who asks it.
//! Law: it is started by the program's own calls, on a socket, and who asks has logged in as everybody does.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis::account::{self, NewAccount, PasswordHash};
use portcullis::audit::{Actor, How};
use portcullis::base::{Email, Secret, SystemClock, SystemRandom};
use portcullis::config;
use portcullis::proxy::upstream::SystemNames;
use portcullis::server::{self, Running, Start};
use portcullis::store::DEFAULT_SITE;
use portcullis::store::testing::TestStore;
use tempfile::TempDir;

use crate::client;
use crate::made::{COMMON_ROLE, RARE_ROLE};

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "Ample-Margin-42-Kites";

pub struct Gateway {
    running: Running,
    token: String,
    _folder: TempDir,
}

impl Gateway {
    pub async fn over(store: &TestStore) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let yaml = yaml(store, &folder);
        let loaded = config::load_text(&yaml).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"));
        let begin = Start {
            loaded,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            names: Arc::new(SystemNames),
            access_log: Box::new(std::io::sink()),
        };
        let running =
            server::start(begin).await.unwrap_or_else(|error| panic!("the gateway does not start: {error}"));
        create(&running).await;
        let token = log_in(running.public).await;
        Self { running, token, _folder: folder }
    }

    pub const fn address(&self) -> SocketAddr {
        self.running.public
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub async fn end(self) {
        self.running.abort().await;
    }
}

/// An access token outlasts the run, and no session that is made up is swept away during it.
fn yaml(store: &TestStore, folder: &TempDir) -> String {
    let (address, at) = (store.address(), folder.path().display());
    format!(
        "preset: development\n\
         listen: {{ public: '127.0.0.1:0', admin: '127.0.0.1:0' }}\n\
         store: {{ url: '{address}', timeout: 6s }}\n\
         keys: {{ seal_file: '{at}/seal.key' }}\n\
         applications: {{ required: nowhere }}\n\
         tokens: {{ access_for: 24h }}\n\
         retention: {{ sessions: 3650d }}\n\
         permissions: [ {{ code: reports.read }} ]\n\
         roles:\n\
         \x20 - {{ code: {COMMON_ROLE}, permissions: [reports.read] }}\n\
         \x20 - {{ code: {RARE_ROLE}, permissions: [reports.read] }}\n"
    )
}

/// Somebody who may see everything.
async fn create(running: &Running) {
    let app = &running.app;
    let hash = app.hasher.hash(Secret::new(PASSWORD.to_owned())).await.expect("a hash");
    let new = NewAccount {
        email: Some(Email::parse(EMAIL).expect("an address")),
        password_hash: Some(PasswordHash::new(hash)),
        is_verified: true,
        is_superuser: true,
        ..NewAccount::of(DEFAULT_SITE)
    };
    let mut change = app.change(Actor::command_line()).await.expect("the store takes a change");
    account::create(&mut change, &new, How::Administrator).await.expect("the address is free");
    change.commit().await.expect("the store takes the account");
}

async fn log_in(to: SocketAddr) -> String {
    let body = serde_json::json!({"email": EMAIL, "password": PASSWORD}).to_string();
    let answer = client::post(to, "/api/v1/auth/login/email/", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
    body["access_token"].as_str().expect("an access token").to_owned()
}
