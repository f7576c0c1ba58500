//! `portcullis init`: from an empty directory to a gateway that can run.
//!
//! Law: nothing that exists is overwritten; what is there already is kept and said. Nothing is
//! written before everything that was typed is known to be good.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::path::Path;

use super::office::Office;
use super::out::{Failure, Out, note};
use super::password::FromStdin;
use super::{app, open, user};
use crate::base::{Email, Secret, SystemRandom};
use crate::config::{self, Config, Loaded};
use crate::crypto::password::policy::Owner;
use crate::store::DEFAULT_SITE;
use crate::{account, application, login};

/// Set up a gateway here: configuration, seal key, store, first application, first superuser
///
/// What exists is kept. Asks for the superuser's e-mail address and password, or takes them with
/// --email and --password-stdin. Prints the application's key and secret as JSON.
#[derive(clap::Args, Debug)]
pub struct Init {
    /// The backend to guard; 127.0.0.1:9000 if absent
    #[arg(long, value_name = "HOST:PORT")]
    upstream: Option<String>,
    /// The name of the first application
    #[arg(long, value_name = "NAME", default_value = "first")]
    application: String,
    /// The superuser's e-mail address
    #[arg(long, value_parser = Email::parse)]
    email: Option<Email>,
    #[command(flatten)]
    password: FromStdin,
}

impl Init {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        // Asked before anything is written: who cannot answer leaves nothing behind.
        let first = if path.exists() {
            None
        } else {
            let (text, loaded) = self.fresh()?;
            let person = self.person(&loaded.config)?;
            write(path, &text)?;
            Some(person)
        };
        let loaded = open::config(path)?;
        if first.is_none() {
            note(format_args!("kept {}", path.display()));
            self.say_what_is_not_in(&loaded.config);
        }
        let seal_file = &loaded.config.keys.seal_file;
        if config::make_seal_key(seal_file, &SystemRandom).map_err(Failure::problem)? {
            note(format_args!(
                "made {}: keep a copy in a safe place, apart from the store",
                seal_file.display()
            ));
        }
        open::block_on(async {
            let office = Office::open(path).await?;
            self.superuser(&office, first).await?;
            self.first_application(&office, out).await
        })?;
        note(format_args!("now: portcullis run --config {}", path.display()));
        Ok(())
    }

    /// The first configuration for what was typed.
    fn fresh(&self) -> Result<(String, Loaded), Failure> {
        let upstream = self.upstream.as_deref().unwrap_or(UPSTREAM);
        let text = TEMPLATE.replace("UPSTREAM", upstream);
        let loaded = config::load_text(&text).map_err(|problems| {
            let told = problems.list.first().map(|problem| problem.message.clone()).unwrap_or_default();
            Failure::usage(format_args!("--upstream {told}; write `127.0.0.1:9000` or `name:9000`"))
        })?;
        Ok((text, loaded))
    }

    /// A file that is kept may lead elsewhere than what was typed now.
    fn say_what_is_not_in(&self, config: &Config) {
        let Some(wanted) = &self.upstream else { return };
        let mut servers = config.upstreams.values().flat_map(|upstream| &upstream.servers);
        if !servers.any(|server| server.to_string() == *wanted) {
            note(format_args!("--upstream {wanted} is not in it: write it under `upstreams` there"));
        }
    }

    fn person(&self, config: &Config) -> Result<(Email, Secret<String>), Failure> {
        let email = match &self.email {
            Some(email) => email.clone(),
            None => ask_email()?,
        };
        let owner = Owner { email: Some(email.as_str()), username: None };
        let password = self.password.choose(&login::policy_of(&config.accounts.password), &owner)?;
        Ok((email, password))
    }

    async fn superuser(
        &self,
        office: &Office,
        person: Option<(Email, Secret<String>)>,
    ) -> Result<(), Failure> {
        let accounts = account::list(&office.app.db, DEFAULT_SITE, 1, 0).await?;
        if !accounts.is_empty() {
            note("kept the accounts");
            return Ok(());
        }
        let (email, password) = match person {
            Some(person) => person,
            None => self.person(office.config())?,
        };
        let made = user::superuser(office, email, password).await?;
        note(format_args!(
            "made the superuser {}",
            made.email.map(|email| email.to_string()).unwrap_or_default()
        ));
        Ok(())
    }

    async fn first_application(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        if !application::list(&office.app.db, DEFAULT_SITE).await?.is_empty() {
            note("kept the applications");
            return Ok(());
        }
        let (made, credentials) = app::create(office, &self.application, "", &[], &[]).await?;
        app::show(&made.name, &credentials, out)
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::problem(format_args!("{}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes())?;
    note(format_args!("wrote {}", path.display()));
    Ok(())
}

fn ask_email() -> Result<Email, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked here: use --email and --password-stdin"));
    }
    let mut line = String::new();
    write!(std::io::stderr(), "E-mail address of the first superuser: ")?;
    std::io::stdin().read_line(&mut line)?;
    Email::parse(line.trim()).map_err(Failure::problem)
}

/// The backend that is guarded where nobody says which.
const UPSTREAM: &str = "127.0.0.1:9000";
/// The first configuration.
const TEMPLATE: &str = include_str!("init.yaml");
