//! People as Tenxyte keeps them, in its own tables on SQLite, PostgreSQL or MySQL.
//!
//! Law: its database is only read. What cannot be had without its keys (seeds of second factors) or is bound
//! to its address (passkeys) stays behind, and that is told.

mod store;

use std::collections::HashMap;
use std::path::PathBuf;

use super::person::{Lock, Person};
use super::{Estate, Found, Member, Tenant};
use crate::base::Secret;
use crate::cli::out::Failure;
use crate::config::Database;
use crate::crypto::password::PREHASHED;
use crate::store::{Db, Error};

/// Reads everybody and what they belong to; `named` is a SQLite file or the URL of a database.
pub(super) async fn read(named: &str) -> Result<Found, Failure> {
    let db = Db::foreign(&database(named)?).await.map_err(|cause| unreadable(&cause))?;
    read_from(&db).await.map_err(|cause| unreadable(&cause))
}

fn database(named: &str) -> Result<Database, Failure> {
    let url = || Secret::new(named.to_owned());
    match named.split_once("://") {
        Some(("postgres" | "postgresql", _)) => Ok(Database::Postgres { url: url() }),
        Some(("mysql" | "mariadb", rest)) => {
            Ok(Database::Mysql { url: Secret::new(format!("mysql://{rest}")) })
        }
        Some(("sqlite", path)) => Ok(Database::Sqlite { path: PathBuf::from(path) }),
        Some(_) => Err(Failure::problem("name a SQLite file, postgres://… or mysql://…")),
        None => Ok(Database::Sqlite { path: PathBuf::from(named) }),
    }
}

/// The cause may quote a row's contents, but no password: hashes are no keys.
fn unreadable(cause: &Error) -> Failure {
    Failure::problem(format_args!("this is no database of Tenxyte that can be read: {cause}"))
}

async fn read_from(db: &Db) -> Result<Found, Error> {
    let users = store::users(db).await?;
    let mut remarks = Vec::new();
    let profiles = match store::profiles(db).await {
        Ok(profiles) => profiles,
        Err(Error::Broken { cause }) => {
            remarks.push(format!(
                "user names, profiles and who must choose another password: this version of Tenxyte keeps none, or they \
                 cannot be read ({cause})"
            ));
            Vec::new()
        }
        Err(cause) => return Err(cause),
    };
    let mut profiles: HashMap<String, store::Profile> =
        profiles.into_iter().map(|own| (own.whose.clone(), own)).collect();
    let mut roles = by_key(store::roles(db).await?);
    let mut permissions = by_key(store::permissions(db).await?);
    let mut people = Vec::new();
    for user in users {
        let key = user.whose.clone();
        let mut person = person(user, profiles.remove(&key));
        person.roles = roles.remove(&key).unwrap_or_default();
        person.permissions = permissions.remove(&key).unwrap_or_default();
        people.push(person);
    }
    remarks.push(
        "sessions, passkeys, connections to providers, applications, agents and the audit trail".to_owned(),
    );
    Ok(Found { people, remarks, estate: Some(estate(db).await?) })
}

fn by_key(all: Vec<store::Held>) -> HashMap<String, Vec<String>> {
    let mut sorted: HashMap<String, Vec<String>> = HashMap::new();
    for held in all {
        sorted.entry(held.whose).or_default().push(held.code);
    }
    sorted
}

fn person(user: store::User, profile: Option<store::Profile>) -> Person {
    let number = user.phone_number.unwrap_or_default();
    let country = user.phone_country_code.unwrap_or_default();
    let country = country.trim().trim_start_matches('+');
    let phone = if number.trim().is_empty() { String::new() } else { format!("+{country}{}", number.trim()) };
    let hash = user.password;
    // As its users have it: bcrypt over the hex SHA-256.
    let hash = if hash.starts_with("$2") { format!("{PREHASHED}{hash}") } else { hash };
    let text = |text: Option<String>| text.unwrap_or_default();
    let mut person = Person {
        place: format!("user {}", user.whose.escape_debug()),
        email: text(user.email),
        phone,
        hash,
        first_name: user.first_name,
        last_name: user.last_name,
        is_inactive: !user.is_active,
        is_banned: user.is_banned,
        is_staff: user.is_staff,
        is_superuser: user.is_superuser,
        has_email: user.is_email_verified,
        has_phone: user.is_phone_verified,
        lock: match user.lock_state.trim() {
            "forever" => Some(Lock::UntilLifted),
            "running" => Some(Lock::ADay),
            _ => None,
        },
        key: Some(user.whose),
        ..Person::default()
    };
    if user.is_2fa_enabled {
        person.lacks.push("a second factor: its seed is sealed with a key of Tenxyte's".to_owned());
    }
    if user.is_deleted {
        person.problem = Some("was erased there".to_owned());
    }
    if let Some(profile) = profile {
        person.username = text(profile.username);
        person.must_change = profile.must_change_password;
        person.bio = text(profile.bio);
        person.timezone = text(profile.timezone);
        person.language = text(profile.language);
    }
    person
}

async fn estate(db: &Db) -> Result<Estate, Error> {
    let mut members: HashMap<String, Vec<Member>> = HashMap::new();
    for own in store::members(db).await? {
        let member = Member { key: own.whose, role: own.role, is_active: own.status == "active" };
        members.entry(own.organization).or_default().push(member);
    }
    let tenants = store::organizations(db).await?.into_iter().map(|own| Tenant {
        members: members.remove(&own.whose).unwrap_or_default(),
        key: own.whose,
        parent: own.parent,
        slug: own.slug,
        name: own.name,
        description: own.description,
        is_active: own.is_active,
    });
    Ok(Estate { tenants: tenants.collect() })
}
