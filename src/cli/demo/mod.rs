//! `portcullis demo`: a whole gateway with nothing to set up, and calls to try on it.
//!
//! Law: it is the real gateway with a real store, on loopback only; what it makes up (people,
//! passwords, keys) is new at every start and gone at the end.

mod backend;
mod guide;
mod story;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use super::office::Office;
use super::out::{Failure, Out};
use super::{app, log, open};
use crate::account::{self, NewAccount};
use crate::audit::How;
use crate::base::{Email, Id, Random, Secret, Slug, SystemClock, SystemRandom};
use crate::config::{self, Loaded};
use crate::crypto::digest;
use crate::crypto::password::policy::Owner;
use crate::login;
use crate::organization::{self, New};
use crate::policy::Code;
use crate::proxy::upstream::SystemNames;
use crate::rbac::{self, Granted};
use crate::server::{self, Start};
use crate::store::DEFAULT_SITE;

use backend::Backend;
use guide::{Guide, Login};

/// Try a gateway without setting anything up
///
/// Starts a gateway with an example backend, people, an organization and an application, and prints the
/// calls to try. Everything is gone when it ends (Ctrl-C).
#[derive(clap::Args, Debug)]
pub struct Demo {
    /// Where the gateway listens; a free port if this one is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    public: SocketAddr,
    /// Where metrics and health are; a free port if this one is taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
}

impl Demo {
    pub fn run(&self, out: &mut Out) -> Result<(), Failure> {
        if !self.public.ip().is_loopback() || !self.admin.ip().is_loopback() {
            return Err(Failure::usage("the demo listens on loopback only, such as 127.0.0.1:8080"));
        }
        open::block_on(async {
            let folder = Folder::new()?;
            let backend = Backend::bind().await?;
            let example = backend.address()?;
            let text = configuration(&folder, example, free(self.public), free(self.admin));
            let loaded = config::load_text(&text).map_err(Failure::problem)?;
            let _log = log::begin(&loaded.config.telemetry);
            let guide = seed(&loaded, folder.configuration()).await?;
            let start = Start {
                loaded,
                clock: Arc::new(SystemClock),
                random: Arc::new(SystemRandom),
                names: Arc::new(SystemNames),
                access_log: Box::new(std::io::stderr()),
            };
            let mut told = Ok(());
            let ready = |running: &server::Running| {
                let (public, admin) = (running.public, running.admin);
                // For the command line, which finds the gateway by it.
                let text = configuration(&folder, example, public, admin);
                let written = std::fs::write(folder.configuration(), text);
                told = written.map_err(Failure::from).and_then(|()| guide.print(public, admin, out));
            };
            tokio::select! {
                ended = server::run(start, None, ready) => ended.map_err(Failure::problem)?,
                () = backend.serve() => {}
            }
            told
        })
    }
}

/// The demo's configuration, wherever it listens.
fn configuration(folder: &Folder, backend: SocketAddr, public: SocketAddr, admin: SocketAddr) -> String {
    include_str!("demo.yaml")
        .replace("PUBLIC", &public.to_string())
        .replace("ADMIN", &admin.to_string())
        .replace("BACKEND", &backend.to_string())
        .replace("FOLDER", &folder.0.display().to_string())
}

/// The address, or any free port where it is taken.
fn free(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_) => wanted,
        Err(_) => SocketAddr::new(wanted.ip(), 0),
    }
}

/// A directory that is gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("portcullis-demo-{}", made_up()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn configuration(&self) -> PathBuf {
        self.0.join("portcullis.yaml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the system's directory for such things.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn made_up() -> String {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    digest::hex(&bytes)
}

/// Puts people, an organization and an application into the new store.
async fn seed(loaded: &Loaded, configuration: PathBuf) -> Result<Guide, Failure> {
    let office = Office::of(Arc::clone(&loaded.config)).await?;
    let owner = Login::new("owner@example.com", password(&office));
    let ada = Login::new("ada@example.com", password(&office));
    let newcomer = Login::new("you@example.com", password(&office));
    let owner_id = person(&office, &owner, Rank::Superuser).await?;
    let ada_id = person(&office, &ada, Rank::Ordinary).await?;
    let (_, credentials) = app::create(&office, "demo", "", &[], &[]).await?;

    let definitions = office.definitions().await?;
    let code = |text| Code::parse(text).map_err(Failure::problem);
    let mut change = office.change().await?;
    let analyst = Granted::Role(code("analyst")?);
    rbac::grant(&mut change, &definitions, ada_id, &analyst).await.map_err(Failure::problem)?;
    let acme = New {
        site: DEFAULT_SITE,
        name: "Acme Corp",
        slug: Some(Slug::parse("acme-corp").map_err(Failure::problem)?),
        description: "",
        parent: None,
        owner: owner_id,
        max_depth: loaded.config.organizations.max_depth,
    };
    let acme = organization::create(&mut change, acme).await.map_err(Failure::problem)?;
    organization::add_member(&mut change, &definitions, acme.id, ada_id, &code("finance")?)
        .await
        .map_err(Failure::problem)?;
    change.commit().await?;
    office.app.db.close().await;
    let program = std::env::current_exe()?;
    Ok(Guide { owner, ada, newcomer, credentials, program, configuration })
}

#[derive(PartialEq)]
enum Rank {
    Superuser,
    Ordinary,
}

/// A password that the policy accepts.
fn password(office: &Office) -> Secret<String> {
    let policy = login::policy_of(&office.app.config().accounts.password);
    loop {
        let made_up = format!("Demo-{}", made_up());
        if policy.check(&made_up, &Owner::default()).is_empty() {
            return Secret::new(made_up);
        }
    }
}

async fn person(office: &Office, login: &Login, rank: Rank) -> Result<Id, Failure> {
    let owner = Owner { email: Some(login.email), username: None };
    let new = NewAccount {
        email: Some(Email::parse(login.email).map_err(Failure::problem)?),
        password_hash: Some(office.hashed(login.password.clone(), &owner).await?),
        is_superuser: rank == Rank::Superuser,
        is_verified: true,
        ..NewAccount::of(DEFAULT_SITE)
    };
    let mut change = office.change().await?;
    let made = account::create(&mut change, &new, How::Administrator).await;
    let made = made.map_err(|error| Failure::problem(format_args!("{error:?}")))?;
    change.commit().await?;
    Ok(made.id)
}
