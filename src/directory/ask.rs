//! What a directory is asked: to take somebody's password, and who that is (RFC 4511).
//!
//! Law: what somebody typed is a value in a name or in a filter, and never more. A password is given
//! away with a name, and is never empty, because a directory says yes to nobody. Whether there is such
//! a person shows neither in the answer nor in what is asked. Referrals are not followed.

use std::sync::atomic::Ordering;

use ldap3::{DerefAliases, Ldap, Scope, SearchEntry, SearchOptions, dn_escape, ldap_escape};

use super::{Claim, Failed, UserName};
use crate::base::{Email, Id, Secret};
use crate::config::{self, Emails, Search, USERNAME};
use crate::crypto::digest::hex;
use crate::social::{Address, Identity};

const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// What a directory answers that does not take a password: `constraintViolation`, `noSuchObject`,
/// `invalidDNSyntax`, `inappropriateAuthentication`, `invalidCredentials`, `insufficientAccessRights`,
/// `unwillingToPerform`.
const REFUSALS: [u32; 7] = [19, 32, 34, 48, 49, 50, 53];
const ID_MAX: usize = 100;
const NAME_MAX: usize = 100;

/// Who somebody is whose password the directory takes.
pub(super) async fn who(
    ldap: &mut Ldap,
    settings: &config::Ldap,
    Claim { user, password, stand_in, is_shown, doorman }: Claim<'_>,
) -> Result<Identity, Failed> {
    match (&settings.search, &settings.bind_as) {
        (Some(search), _) => {
            if let (Some(name), Some(password)) = (&search.bind_dn, &search.password)
                && !is_taken(ldap, name, password).await?
            {
                return Err(Failed::Unavailable("it does not take the gateway's own password"));
            }
            let mut found = find(ldap, settings, search, user).await?;
            let person = found.as_ref().map(|entry| identity(settings, entry)).transpose()?;
            let subject = person.as_ref().map(|person| person.subject.as_str());
            // Nobody is told: of whoever is not there tries are counted, too, and cost as long.
            if !doorman.admits(&issuer(settings), subject).await? {
                found = None;
            }
            // Somebody who is not there is asked for all the same.
            let name = found.as_ref().map_or_else(|| nobody(search, stand_in), |entry| entry.dn.clone());
            is_shown.store(true, Ordering::Relaxed);
            let is_taken = is_taken(ldap, &name, password).await?;
            let entry = found.filter(|_| is_taken).ok_or(Failed::Wrong)?;
            identity(settings, &entry)
        }
        (None, template) => {
            let template = template.as_deref().unwrap_or_default();
            let name = template.replace(USERNAME, &dn_escape(user.as_str()));
            is_shown.store(true, Ordering::Relaxed);
            if !is_taken(ldap, &name, password).await? {
                return Err(Failed::Wrong);
            }
            let own = read(ldap, settings, &name, Scope::Base, "(objectClass=*)").await?;
            let [entry] = own.as_slice() else {
                return Err(Failed::Unavailable("it does not show people their own entry"));
            };
            identity(settings, entry)
        }
    }
}

/// Whether the gateway's own password is taken, where it has one.
pub(super) async fn greet(ldap: &mut Ldap, settings: &config::Ldap) -> Result<(), Failed> {
    let Some(search) = &settings.search else { return Ok(()) };
    let (Some(name), Some(password)) = (&search.bind_dn, &search.password) else { return Ok(()) };
    if is_taken(ldap, name, password).await? {
        return Ok(());
    }
    Err(Failed::Unavailable("it does not take the gateway's own password"))
}

/// Whether the directory takes the password of an entry.
async fn is_taken(ldap: &mut Ldap, name: &str, password: &Secret<String>) -> Result<bool, Failed> {
    if name.is_empty() || password.expose().is_empty() {
        return Ok(false);
    }
    let told = ldap.simple_bind(name, password.expose()).await.map_err(|_| BROKEN)?;
    match told.rc {
        SUCCESS => Ok(true),
        code if REFUSALS.contains(&code) => Ok(false),
        code => {
            tracing::warn!(code, "a directory neither takes nor refuses a password");
            Err(Failed::Unavailable("it neither takes nor refuses a password"))
        }
    }
}

const BROKEN: Failed = Failed::Unavailable("it does not answer as a directory does");

fn nobody(search: &Search, stand_in: Id) -> String {
    let separator = if search.base.is_empty() { "" } else { "," };
    format!("cn={stand_in}{separator}{}", search.base)
}

/// The one person of this user name.
async fn find(
    ldap: &mut Ldap,
    settings: &config::Ldap,
    search: &Search,
    user: &UserName,
) -> Result<Option<SearchEntry>, Failed> {
    let filter = search.filter.replace(USERNAME, &ldap_escape(user.as_str()));
    let mut found = read(ldap, settings, &search.base, Scope::Subtree, &filter).await?;
    if found.len() > 1 {
        tracing::warn!("a directory has several people of one user name; none of them can log in by it");
        return Ok(None);
    }
    Ok(found.pop())
}

async fn read(
    ldap: &mut Ldap,
    settings: &config::Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
) -> Result<Vec<SearchEntry>, Failed> {
    let of = &settings.attributes;
    let wanted = [of.id.as_str(), &of.email, &of.first_name, &of.last_name];
    let options = SearchOptions::new().sizelimit(2).deref(DerefAliases::Never);
    let answer = ldap.with_search_options(options).search(base, scope, filter, wanted).await;
    let answer = answer.map_err(|_| BROKEN)?;
    if ![SUCCESS, SIZE_LIMIT_EXCEEDED].contains(&answer.1.rc) {
        tracing::warn!(code = answer.1.rc, "a directory does not answer a search");
        return Err(Failed::Unavailable("it does not answer a search"));
    }
    let entries = answer.0.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
    Ok(entries.map(SearchEntry::construct).collect())
}

fn identity(settings: &config::Ldap, entry: &SearchEntry) -> Result<Identity, Failed> {
    let of = &settings.attributes;
    let [id] = values(entry, &of.id)[..] else {
        return Err(Failed::Unavailable("it does not say which of its people somebody is (`attributes.id`)"));
    };
    let email = values(entry, &of.email).into_iter().find_map(|value| Email::parse(text(value)?).ok());
    Ok(Identity {
        issuer: issuer(settings),
        subject: subject(id).ok_or(Failed::Unavailable("what says who somebody is is too long"))?,
        address: match (email, settings.emails) {
            (None, _) => Address::None,
            (Some(email), Emails::Verified) => Address::Verified(email),
            (Some(email), Emails::Claimed) => Address::Claimed(email),
        },
        first_name: name(entry, &of.first_name),
        last_name: name(entry, &of.last_name),
    })
}

/// Who says so: the directory by its name, because its servers come and go.
pub(super) fn issuer(settings: &config::Ldap) -> String {
    format!("ldap:{}", settings.name)
}

const AS_BYTES: &str = "hex:";

/// What never changes, as text; of bytes their digits.
fn subject(id: &[u8]) -> Option<String> {
    let plain = text(id).filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
    let subject = match plain {
        Some(plain) if !plain.starts_with(AS_BYTES) => plain.to_owned(),
        _ => format!("{AS_BYTES}{}", hex(id)),
    };
    (1..=ID_MAX).contains(&id.len()).then_some(subject)
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// A name for people, as far as it is one.
fn name(entry: &SearchEntry, attribute: &str) -> String {
    let first = values(entry, attribute).into_iter().find_map(text).unwrap_or_default();
    first.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect::<String>().trim().to_owned()
}

/// The values of an attribute, whose name is one in any case.
fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> Vec<&'a [u8]> {
    let texts = entry.attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
    let texts = texts.flat_map(|(_, values)| values.iter().map(String::as_bytes));
    let bytes = entry.bin_attrs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(attribute));
    texts.chain(bytes.flat_map(|(_, values)| values.iter().map(Vec::as_slice))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_says_who_somebody_is_is_one_text() {
        let uuid = "9c5b94b1-35ad-49bb-b118-8e8fc24abf80";
        assert_eq!(subject(uuid.as_bytes()), Some(uuid.to_owned()));
        assert_eq!(subject(&[0xff, 0, 7]), Some("hex:ff0007".to_owned()));
        assert_eq!(subject(b"hex:ff0007"), Some(format!("hex:{}", hex(b"hex:ff0007"))), "no other one's");
        assert_eq!(subject(b"two words"), Some(format!("hex:{}", hex(b"two words"))));
        assert_eq!((subject(b""), subject(&[b'x'; ID_MAX + 1])), (None, None));
    }

    #[test]
    fn what_was_typed_is_a_value() {
        let typed = "ada,ou=admins)(uid=*";
        let template = "uid={username},ou=people".replace(USERNAME, &dn_escape(typed));
        assert_eq!(template, r"uid=ada\2cou\3dadmins)(uid\3d*,ou=people");
        let filter = "(uid={username})".replace(USERNAME, &ldap_escape(typed));
        assert_eq!(filter, r"(uid=ada,ou=admins\29\28uid=\2a)");
    }
}
