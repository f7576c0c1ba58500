//! `portcullis init`: from an empty directory to a gateway that can run.
//!
//! Law: nothing that exists is overwritten; what is there already is kept and said.

use std::fs::OpenOptions;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use super::office::Office;
use super::out::{Failure, Out, note};
use super::password::FromStdin;
use super::{app, open, user};
use crate::base::{Email, Secret, SystemRandom};
use crate::config;
use crate::store::DEFAULT_SITE;
use crate::{account, application};

/// Set up a gateway here: configuration, seal key, store, first application, first superuser
///
/// What exists is kept. Asks for the superuser's e-mail address and password, or takes them with
/// --email and --password-stdin. Prints the application's key and secret as JSON.
#[derive(clap::Args, Debug)]
pub struct Init {
    /// The backend to guard
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000")]
    upstream: String,
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
        let first = if path.exists() { None } else { Some(self.person()?) };
        self.configuration(path)?;
        let loaded = open::config(path)?;
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

    fn configuration(&self, path: &Path) -> Result<(), Failure> {
        let mut options = OpenOptions::new();
        let mut file = match options.write(true).create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                note(format_args!("kept {}", path.display()));
                return Ok(());
            }
            Err(error) => return Err(Failure::problem(format_args!("{}: {error}", path.display()))),
        };
        file.write_all(TEMPLATE.replace("UPSTREAM", &self.upstream).as_bytes())?;
        note(format_args!("wrote {}", path.display()));
        Ok(())
    }

    fn person(&self) -> Result<(Email, Secret<String>), Failure> {
        let email = match &self.email {
            Some(email) => email.clone(),
            None => ask_email()?,
        };
        Ok((email, self.password.read()?))
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
            None => self.person()?,
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

fn ask_email() -> Result<Email, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody can be asked here: use --email and --password-stdin"));
    }
    let mut line = String::new();
    write!(std::io::stderr(), "E-mail address of the first superuser: ")?;
    std::io::stdin().read_line(&mut line)?;
    Email::parse(line.trim()).map_err(Failure::problem)
}

/// The first configuration.
const TEMPLATE: &str = include_str!("init.yaml");
