//! `portcullis import`: people from elsewhere, who keep their passwords.
//!
//! Law: whoever is here already stays as they are, so a second run does nothing and one that was cut
//! short goes on. What was not taken is told with the reason, and nothing that a file says grants a right
//! unless the operator says so. No hash is written anywhere but into its account.

mod django;
mod estate;
mod person;
mod report;
mod table;
mod tenxyte;

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use self::estate::{Estate, Member, Tenant, Whom};
use self::person::{Known, Lock, Person, Ready, Trust};
use self::report::{Fate, Report};
use super::office::Office;
use super::open;
use super::out::{AsJson, Failure, Out, draft, note};
use crate::account::{self, Activity, Ban, NewAccount, Reference, Taken, WriteError};
use crate::app::Change;
use crate::audit::How;
use crate::base::Id;
use crate::policy::definition::Definitions;
use crate::policy::seed;
use crate::rbac;
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
    /// The file; `-` is standard input. For `--from tenxyte` its SQLite file, or a URL of its database, which
    /// standard input can tell too
    file: PathBuf,
    /// Write nothing, and tell what would be
    #[arg(long)]
    dry_run: bool,
    /// Take every e-mail address and phone number for proved
    #[arg(long)]
    verified: bool,
    /// Take over who is staff and who is a superuser, and roles, permissions and organizations
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
    /// The database of Tenxyte
    Tenxyte,
}

/// What stands in a file.
struct Found {
    people: Vec<Person>,
    /// What it holds that is not taken from anybody.
    remarks: Vec<String>,
    /// The organizations, where there can be any.
    estate: Option<Estate>,
}

/// How often the progress is told.
const STEP: usize = 50;
const BAR: usize = 30;

impl Import {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let report = open::block_on(async {
            let found = self.found().await?;
            let desk = self.desk(path).await?;
            self.take(&desk, found).await
        })?;
        report.tell(out, self.json.format(), self.dry_run)?;
        if report.is_whole() { Ok(()) } else { Err(Failure::Told) }
    }

    async fn found(&self) -> Result<Found, Failure> {
        match self.from {
            Origin::Csv => table::read(&self.read()?),
            Origin::Django => django::read(&self.read()?, &self.model),
            Origin::Tenxyte if self.file.as_os_str() == "-" => {
                let named = String::from_utf8_lossy(&self.read()?).into_owned();
                tenxyte::read(named.trim()).await
            }
            Origin::Tenxyte => tenxyte::read(&self.file.to_string_lossy()).await,
        }
    }

    async fn desk(&self, path: &Path) -> Result<Desk, Failure> {
        if !self.dry_run {
            let office = Office::open(path).await?;
            let definitions = office.definitions().await?;
            return Ok(Desk { place: Place::Take(office), definitions });
        }
        let config = open::config(path)?.config;
        let db = open::store_to_look_at(&config.store).await?;
        let definitions = match &db {
            Some(db) => rbac::definitions(db, &config.definitions).await?,
            None => seed::definitions().under(&config.definitions),
        };
        Ok(Desk { place: Place::Look(db), definitions })
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
        let mut people = HashMap::new();
        let is_watched = std::io::stderr().is_terminal();
        for (done, person) in found.people.into_iter().enumerate() {
            if is_watched && done % STEP == 0 {
                draft(progress(done, count));
            }
            let place = person.place.clone();
            let key = person.key.clone();
            let (fate, whom) = match person.ready(trust, &desk.definitions, &mut known) {
                Ok(ready) => settle(desk, ready).await.map_err(|cause| stopped(&place, cause))?,
                Err(why) => (Fate::Refused(why), None),
            };
            people.extend(key.zip(whom));
            report.add(place, fate);
        }
        if is_watched {
            note(progress(count, count));
        }
        if let Some(estate) = found.estate {
            estate::take(desk, estate, trust, &people, &mut report).await?;
        }
        Ok(report)
    }
}

/// Where people are taken to, and what can be held there.
struct Desk {
    place: Place,
    definitions: Definitions,
}

enum Place {
    Take(Office),
    /// Into no store: this one is only looked at, where there is one.
    Look(Option<Db>),
}

/// Makes one account, or says why there is none; and who it is to organizations.
async fn settle(desk: &Desk, ready: Ready) -> Result<(Fate, Option<Whom>), Failure> {
    let (office, db) = match &desk.place {
        Place::Look(None) => return Ok((Fate::Taken { without: ready.without }, Some(Whom::Nobody))),
        Place::Look(Some(db)) => (None, db),
        Place::Take(office) => (Some(office), &office.app.db),
    };
    if let Some(here) = is_here(db, &ready.new).await? {
        return Ok(here);
    }
    let Some(office) = office else {
        return Ok((Fate::Taken { without: ready.without }, Some(Whom::Nobody)));
    };
    let mut change = office.change().await?;
    let made = match account::create(&mut change, &ready.new, How::Administrator).await {
        Ok(made) => made,
        // Somebody was quicker.
        Err(WriteError::Taken(taken)) => {
            drop(change);
            let here = is_here(db, &ready.new).await?;
            return Ok(here.unwrap_or_else(|| (Fate::Refused(belongs_to_another(taken).to_owned()), None)));
        }
        Err(WriteError::Store(error)) => return Err(error.into()),
    };
    furnish(&mut change, desk, made.id, &ready).await?;
    change.commit().await?;
    Ok((Fate::Taken { without: ready.without }, Some(Whom::Account(made.id))))
}

/// What a new account has beside its names and its password.
async fn furnish(change: &mut Change<'_>, desk: &Desk, id: Id, ready: &Ready) -> Result<(), Failure> {
    for channel in &ready.proved {
        account::verify(change, id, *channel, How::Administrator).await?;
    }
    if !ready.fields.is_empty() {
        match account::edit(change, id, &ready.fields).await {
            Ok(_) => {}
            Err(WriteError::Store(cause)) => return Err(cause.into()),
            Err(WriteError::Taken(taken)) => return Err(Failure::problem(format!("{taken:?} is taken"))),
        }
    }
    for granted in &ready.granted {
        rbac::grant(change, &desk.definitions, id, granted).await.map_err(Failure::problem)?;
    }
    // Whoever may not log in there does not here, whatever rights they have. Nobody is a superuser here who
    // may not log in (see `person`), so nothing keeps these from being done.
    let is_done = match (ready.is_banned, ready.is_active, ready.lock) {
        (true, ..) => account::set_ban(change, id, Ban::Imposed).await?,
        (false, false, _) => account::set_activity(change, id, Activity::Inactive).await?,
        (false, true, Some(lock)) => {
            let until = (lock == Lock::ADay).then(|| change.now().plus(Duration::from_hours(24)));
            account::lock(change, id, until).await?
        }
        (false, true, None) => true,
    };
    if is_done { Ok(()) } else { Err(Failure::problem("somebody who may not log in there still could here")) }
}

/// Whether the person has an account, or somebody else has what would be theirs. An account is the same
/// person to organizations where its e-mail address is proved.
async fn is_here(db: &Db, new: &NewAccount) -> Result<Option<(Fate, Option<Whom>)>, Error> {
    let references = [
        (Taken::Email, new.email.clone().map(Reference::Email)),
        (Taken::Phone, new.phone.clone().map(Reference::Phone)),
        (Taken::Username, new.username.clone().map(Reference::Username)),
    ];
    // Of several, the first says who it is.
    let mut is_first = true;
    for (what, reference) in references {
        let Some(reference) = reference else { continue };
        if let Some(found) = account::find(db, DEFAULT_SITE, &reference).await? {
            if !is_first {
                return Ok(Some((Fate::Refused(belongs_to_another(what).to_owned()), None)));
            }
            let is_known = what == Taken::Email && found.is_email_verified;
            return Ok(Some((Fate::Here, is_known.then_some(Whom::Account(found.id)))));
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
