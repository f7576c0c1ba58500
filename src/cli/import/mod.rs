//! `portcullis import`: people from elsewhere, who keep their passwords.
//!
//! Law: whoever is here already stays as they are, so a second run does nothing and one that was cut
//! short goes on. What was not taken is told with the reason, and nothing that a file says grants a right
//! unless the operator says so. No hash is written anywhere but into its account.

mod django;
mod person;
mod report;
mod table;

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use self::person::{Known, Person, Ready, Trust};
use self::report::{Fate, Report};
use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Out, draft, note};
use crate::account::{self, Activity, NewAccount, Reference, Taken, WriteError};
use crate::audit::How;
use crate::store::{DEFAULT_SITE, Db, Error};

/// Bring people along from elsewhere, with their passwords
///
/// Whoever is here already, by e-mail address or phone number, is left alone, so it can be run
/// again. Ends with 1 where somebody was not taken; the report says who, and why.
#[derive(clap::Args, Debug)]
pub struct Import {
    /// What the file is
    #[arg(long, value_enum)]
    from: Origin,
    /// The file; `-` is standard input
    file: PathBuf,
    /// Write nothing, and tell what would be
    #[arg(long)]
    dry_run: bool,
    /// Take every e-mail address and phone number for proved
    #[arg(long)]
    verified: bool,
    /// Take over who is staff and who is a superuser
    #[arg(long)]
    with_rights: bool,
    /// The model that people are, for `--from django`
    #[arg(long, default_value = "auth.user", value_name = "APP.MODEL")]
    model: String,
    #[command(flatten)]
    json: AsJson,
}

/// What a file of people is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Origin {
    /// A table with a line of names: email, phone, username, password_hash, first_name, last_name, …
    Csv,
    /// What `manage.py dumpdata auth.user` writes
    Django,
}

/// What stands in a file.
struct Found {
    people: Vec<Person>,
    /// What it holds that is not taken from anybody.
    remarks: Vec<String>,
}

/// How often the progress is told.
const STEP: usize = 50;
const BAR: usize = 30;

impl Import {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let bytes = self.read()?;
        let found = match self.from {
            Origin::Csv => table::read(&bytes)?,
            Origin::Django => django::read(&bytes, &self.model)?,
        };
        let report = open::block_on(async {
            let desk = if self.dry_run {
                let config = open::config(path)?.config;
                Desk::Look(open::store_to_look_at(&config.store).await?)
            } else {
                Desk::Take(Office::open(path).await?)
            };
            self.take(&desk, found).await
        })?;
        report.tell(out, self.json.format(), self.dry_run)?;
        if report.is_whole() { Ok(()) } else { Err(Failure::Told) }
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut bytes)?;
        } else {
            let cannot =
                |error| Failure::problem(format_args!("cannot read {}: {error}", self.file.display()));
            bytes = std::fs::read(&self.file).map_err(cannot)?;
        }
        Ok(bytes)
    }

    async fn take(&self, desk: &Desk, found: Found) -> Result<Report, Failure> {
        let trust = Trust { is_verified: self.verified, has_rights: self.with_rights };
        let (count, mut known) = (found.people.len(), Known::default());
        let mut report = Report::new(found.remarks);
        let is_watched = std::io::stderr().is_terminal();
        for (done, person) in found.people.into_iter().enumerate() {
            if is_watched && done % STEP == 0 {
                draft(progress(done, count));
            }
            let place = person.place.clone();
            let fate = match person.ready(trust, &mut known) {
                Ok(ready) => settle(desk, ready).await.map_err(|cause| stopped(&place, cause))?,
                Err(why) => Fate::Refused(why),
            };
            report.add(place, fate);
        }
        if is_watched {
            note(progress(count, count));
        }
        Ok(report)
    }
}

/// Where people are taken to.
enum Desk {
    Take(Office),
    /// Into no store: this one is only looked at, where there is one.
    Look(Option<Db>),
}

/// Makes one account, or says why there is none.
async fn settle(desk: &Desk, ready: Ready) -> Result<Fate, Failure> {
    let office = match desk {
        Desk::Look(None) => return Ok(Fate::Taken { without: ready.without }),
        Desk::Look(Some(db)) => {
            let fate = is_here(db, &ready.new).await?;
            return Ok(fate.unwrap_or(Fate::Taken { without: ready.without }));
        }
        Desk::Take(office) => office,
    };
    if let Some(fate) = is_here(&office.app.db, &ready.new).await? {
        return Ok(fate);
    }
    let Ready { new, is_active, without } = ready;
    let mut change = office.change().await?;
    let made = match account::create(&mut change, &new, How::Administrator).await {
        Ok(made) => made,
        // Somebody was quicker.
        Err(WriteError::Taken(taken)) => {
            drop(change);
            let fate = is_here(&office.app.db, &new).await?;
            return Ok(fate.unwrap_or_else(|| Fate::Refused(belongs_to_another(taken).to_owned())));
        }
        Err(WriteError::Store(error)) => return Err(error.into()),
    };
    if !is_active {
        account::set_activity(&mut change, made.id, Activity::Inactive).await?;
    }
    change.commit().await?;
    Ok(Fate::Taken { without })
}

/// Whether the person has an account, or somebody else has what would be theirs.
async fn is_here(db: &Db, new: &NewAccount) -> Result<Option<Fate>, Error> {
    let references = [
        (Taken::Email, new.email.clone().map(Reference::Email)),
        (Taken::Phone, new.phone.clone().map(Reference::Phone)),
        (Taken::Username, new.username.clone().map(Reference::Username)),
    ];
    // Of several, the first says who it is.
    let mut is_first = true;
    for (what, reference) in references {
        let Some(reference) = reference else { continue };
        if account::find(db, DEFAULT_SITE, &reference).await?.is_some() {
            let fate = if is_first { Fate::Here } else { Fate::Refused(belongs_to_another(what).to_owned()) };
            return Ok(Some(fate));
        }
        is_first = false;
    }
    Ok(None)
}

/// The store's refusal, where it came, and that nothing of before is lost.
fn stopped(place: &str, cause: Failure) -> Failure {
    match cause {
        Failure::Problem(cause) => {
            Failure::Problem(format!("stopped at {place}: {cause}; run it again, and it goes on from there"))
        }
        other => other,
    }
}

const fn belongs_to_another(what: Taken) -> &'static str {
    match what {
        Taken::Email => "the e-mail address belongs to another account here",
        Taken::Phone => "the phone number belongs to another account here",
        Taken::Username => "the user name belongs to another account here",
    }
}

fn progress(done: usize, count: usize) -> String {
    let full = (done * BAR).checked_div(count).unwrap_or(BAR);
    format!("\r[{}{}] {done} of {count}", "#".repeat(full), "-".repeat(BAR - full))
}
