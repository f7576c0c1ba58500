//! `portcullis user list` and `show`: who there is, and everything that decides what one may do.
//! Password hashes stay where they are.

use serde_json::{Value, json};

use super::Whose;
use crate::account::{self, Account, Standing};
use crate::base::Timestamp;
use crate::cli::definition::texts;
use crate::cli::office::Office;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::organization;
use crate::principal::Membership;
use crate::rbac;
use crate::session::{self, Session};
use crate::store::DEFAULT_SITE;

/// List accounts, by number
#[derive(clap::Args, Debug)]
pub struct List {
    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    /// How many to leave out first
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    offset: u32,
    #[command(flatten)]
    json: AsJson,
}

/// Show one account: its rights, organizations and open sessions
#[derive(clap::Args, Debug)]
pub struct Show {
    #[command(flatten)]
    whose: Whose,
}

impl List {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let accounts = account::list(&office.app.db, DEFAULT_SITE, self.limit, self.offset).await?;
        let now = office.app.now();
        if self.json.format() == Format::Json {
            return out.json(&accounts.iter().map(|own| object(summary(own, now))).collect::<Value>());
        }
        let row = |own: &Account| {
            [
                own.number.0.to_string(),
                own.email.as_ref().map(ToString::to_string).unwrap_or_default(),
                own.phone.as_ref().map(ToString::to_string).unwrap_or_default(),
                standing(own, now),
                flags(own),
                own.last_login_at.map(Timestamp::rfc3339).unwrap_or_default(),
            ]
        };
        let rows: Vec<_> = accounts.iter().map(row).collect();
        out.table(["number", "email", "phone", "standing", "flags", "last login"], &rows)
    }
}

impl Show {
    pub async fn run(&self, office: &Office, out: &mut Out) -> Result<(), Failure> {
        let (db, now) = (&office.app.db, office.app.now());
        let account = office.person(&self.whose.user).await?;
        let mut assignments = rbac::assignments(db, account.id).await?;
        assignments.is_superuser = account.is_superuser;
        let rights = office.app.catalogue().rights(&assignments);
        let memberships = organization::memberships(db, account.id).await?;
        let sessions = session::live_of(db, account.id, now).await?;

        let membership =
            |own: &Membership| json!({"organization": own.slug.to_string(), "role": own.role.to_string()});
        let session = |own: &Session| {
            json!({
                "id": own.id.to_string(), "method": own.method.name(), "address": own.address,
                "started_at": own.started_at.rfc3339(), "refreshed_at": own.refreshed_at.rfc3339(),
            })
        };
        let mut facts = summary(&account, now);
        facts.extend([
            ("roles", texts(&assignments.roles).into()),
            ("groups", texts(&assignments.groups).into()),
            ("granted", texts(&assignments.permissions).into()),
            ("permissions", texts(&rights.codes()).into()),
            ("organizations", memberships.iter().map(membership).collect()),
            ("sessions", sessions.iter().map(session).collect()),
        ]);
        match self.whose.json.format() {
            Format::Json => out.json(&object(facts)),
            Format::Text => facts.iter().flat_map(lines).try_for_each(|line| out.line(line)),
        }
    }
}

type Fact = (&'static str, Value);

fn object(facts: Vec<Fact>) -> Value {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A fact for people: what has parts of its own stands on lines of its own.
fn lines((name, value): &Fact) -> Vec<String> {
    match value {
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let items = items.iter().map(|item| format!("  {}", plain(item)));
            std::iter::once(format!("{name}:")).chain(items).collect()
        }
        _ => vec![format!("{name}: {}", plain(value)).trim_end().to_owned()],
    }
}

/// A value for people.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(facts) => {
            let told = facts.iter().filter(|(_, value)| !value.is_null());
            told.map(|(name, value)| named(name, value)).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// A part of something. Of two times nobody could tell which is which: each says what happened then.
fn named(name: &str, value: &Value) -> String {
    match name.strip_suffix("_at") {
        Some(what) => format!("{what} {}", plain(value)),
        None => plain(value),
    }
}

fn summary(own: &Account, now: Timestamp) -> Vec<Fact> {
    let text = |value: Option<String>| value.map_or(Value::Null, Value::String);
    vec![
        ("id", own.id.to_string().into()),
        ("number", own.number.0.into()),
        ("email", text(own.email.as_ref().map(ToString::to_string))),
        ("email_verified", own.is_email_verified.into()),
        ("phone", text(own.phone.as_ref().map(ToString::to_string))),
        ("phone_verified", own.is_phone_verified.into()),
        ("username", text(own.username.as_ref().map(ToString::to_string))),
        ("first_name", own.first_name.as_str().into()),
        ("last_name", own.last_name.as_str().into()),
        ("standing", standing(own, now).into()),
        ("staff", own.is_staff.into()),
        ("superuser", own.is_superuser.into()),
        ("must_change_password", own.must_change_password.into()),
        ("second_factor", own.second_factor_at.is_some().into()),
        ("created_at", own.created_at.rfc3339().into()),
        ("last_login_at", text(own.last_login_at.map(Timestamp::rfc3339))),
    ]
}

fn standing(own: &Account, now: Timestamp) -> String {
    match own.standing(now) {
        Standing::Good => "good".to_owned(),
        Standing::Deleted => "deleted".to_owned(),
        Standing::Inactive => "inactive".to_owned(),
        Standing::Banned => "banned".to_owned(),
        Standing::Locked { until: None } => "locked".to_owned(),
        Standing::Locked { until: Some(until) } => format!("locked until {}", until.rfc3339()),
    }
}

fn flags(own: &Account) -> String {
    let flags = [("superuser", own.is_superuser), ("staff", own.is_staff)];
    flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_a_line() {
        let sessions =
            ("sessions", json!([{"id": "s1", "method": "password"}, {"id": "s2", "address": null}]));
        assert_eq!(lines(&sessions), ["sessions:", "  s1 password", "  s2"]);
        assert_eq!(plain(&json!({"id": "s1", "started_at": "noon"})), "s1 started noon");
        assert_eq!(lines(&("roles", json!(["a", "b"]))), ["roles: a, b"]);
        assert_eq!(lines(&("sessions", json!([]))), ["sessions:"]);
    }
}
