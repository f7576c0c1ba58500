//! `portcullis app …`: applications, the clients of the API.
//!
//! Law: a secret is shown once, when it is made; the store has only its digest.

use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Format, Out, note};
use crate::application::{
    self, Activity, Application, Credentials, NewApplication, Origin, RedirectUri, WriteError,
};
use crate::store::DEFAULT_SITE;

/// Create and manage applications, the clients of the API
#[derive(clap::Args, Debug)]
pub struct App {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an application
    ///
    /// Prints {"name", "access_key", "access_secret"} as JSON. The secret is shown this once.
    Create {
        /// Its name
        name: String,
        /// A page's origin, such as https://app.example.com, that may call with the key alone
        #[arg(long = "origin", value_name = "URL", value_parser = Origin::parse)]
        origins: Vec<Origin>,
        /// Where providers of identities may send people with a code for it
        #[arg(long = "redirect", value_name = "URI", value_parser = RedirectUri::parse)]
        redirects: Vec<RedirectUri>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List applications
    List {
        #[command(flatten)]
        json: AsJson,
    },
    /// Give an application a new key and secret; the old ones stop working at once
    ///
    /// Prints {"name", "access_key", "access_secret"} as JSON. The secret is shown this once.
    Regenerate(Which),
    /// Refuse an application's calls
    Disable(Which),
    /// Accept a disabled application's calls again
    Enable(Which),
}

#[derive(clap::Args, Debug)]
struct Which {
    /// Name, access key, number or id
    #[arg(value_name = "APPLICATION")]
    application: String,
}

impl App {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        open::block_on(async {
            let office = Office::open(path).await?;
            match &self.command {
                Command::Create { name, origins, redirects, description } => {
                    let (made, credentials) = create(&office, name, description, origins, redirects).await?;
                    show(&made.name, &credentials, out)
                }
                Command::List { json } => list(&office, json.format(), out).await,
                Command::Regenerate(which) => regenerate(&office, which, out).await,
                Command::Disable(which) => set(&office, which, Activity::Disabled, out).await,
                Command::Enable(which) => set(&office, which, Activity::Active, out).await,
            }
        })
    }
}

/// Makes an application in a change of its own.
pub async fn create(
    office: &Office,
    name: &str,
    description: &str,
    origins: &[Origin],
    redirects: &[RedirectUri],
) -> Result<(Application, Credentials), Failure> {
    let new = NewApplication {
        site: DEFAULT_SITE,
        name: name.to_owned(),
        description: description.to_owned(),
        allowed_origins: origins.to_vec(),
        redirect_uris: redirects.to_vec(),
    };
    let mut change = office.change().await?;
    let made = application::create(&mut change, new).await.map_err(|error| match error {
        WriteError::BadName => Failure::problem("a name has 1 to 100 printable characters"),
        WriteError::NameTaken => Failure::problem("there is an application of this name already"),
        WriteError::Store(error) => error.into(),
    })?;
    change.commit().await?;
    Ok(made)
}

/// Shows a key and secret, this once.
pub fn show(name: &str, credentials: &Credentials, out: &mut Out) -> Result<(), Failure> {
    out.json(&json!({
        "name": name,
        "access_key": credentials.access_key.as_str(),
        "access_secret": credentials.access_secret.expose(),
    }))?;
    note("keep the secret now: it is not shown again");
    Ok(())
}

async fn named(office: &Office, which: &Which) -> Result<Application, Failure> {
    let found = application::find(&office.app.db, DEFAULT_SITE, &which.application).await?;
    found.ok_or_else(|| Failure::problem("there is no such application; `portcullis app list` shows them"))
}

async fn regenerate(office: &Office, which: &Which, out: &mut Out) -> Result<(), Failure> {
    let application = named(office, which).await?;
    let mut change = office.change().await?;
    let Some(credentials) = application::regenerate(&mut change, application.id).await? else {
        return Err(Failure::problem("the application was removed in the meantime"));
    };
    change.commit().await?;
    show(&application.name, &credentials, out)
}

async fn set(office: &Office, which: &Which, activity: Activity, out: &mut Out) -> Result<(), Failure> {
    let application = named(office, which).await?;
    let mut change = office.change().await?;
    if !application::set_activity(&mut change, application.id, activity).await? {
        return out.line("nothing to do: it is so already");
    }
    change.commit().await?;
    out.line(match activity {
        Activity::Active => "enabled",
        Activity::Disabled => "disabled",
    })
}

async fn list(office: &Office, format: Format, out: &mut Out) -> Result<(), Failure> {
    let all = application::list(&office.app.db, DEFAULT_SITE).await?;
    let origins = |own: &Application| own.allowed_origins.iter().map(ToString::to_string).collect::<Vec<_>>();
    if format == Format::Json {
        let one = |own: &Application| {
            json!({
                "id": own.id.to_string(), "number": own.number.0, "name": own.name,
                "description": own.description, "access_key": own.access_key.as_str(),
                "active": own.is_active, "origins": origins(own),
                "redirect_uris": own.redirect_uris.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "created_at": own.created_at.rfc3339(),
            })
        };
        return out.json(&all.iter().map(one).collect::<Value>());
    }
    let row = |own: &Application| {
        let state = if own.is_active { "active" } else { "disabled" };
        [own.name.clone(), own.access_key.as_str().to_owned(), state.to_owned(), origins(own).join(",")]
    };
    out.table(["name", "access key", "state", "origins"], &all.iter().map(row).collect::<Vec<_>>())
}
