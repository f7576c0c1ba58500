//! Somebody as a file describes them, and what becomes of that here.
//!
//! Law: what cannot be an account is refused with a reason that names no secret. A hash that nobody here
//! can verify is no password, and that is said too.

use std::collections::HashMap;

use crate::account::{Channel, Field, NewAccount, PasswordHash, Username};
use crate::base::{Email, Phone};
use crate::crypto::password;
use crate::policy::Code;
use crate::policy::definition::Definitions;
use crate::rbac::Granted;
use crate::store::DEFAULT_SITE;

const NAME_MAX: usize = 100;
const BIO_MAX: usize = 500;
const TIMEZONE_MAX: usize = 63;
const LANGUAGE_MAX: usize = 10;
/// The store keeps no longer ones.
const HASH_MAX: usize = 500;

/// Somebody as a file describes them.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is a fact of its own, as in the file")]
pub(super) struct Person {
    /// Where they stand, for people.
    pub place: String,
    pub email: String,
    pub phone: String,
    pub username: String,
    pub hash: String,
    pub first_name: String,
    pub last_name: String,
    pub is_inactive: bool,
    pub is_staff: bool,
    pub is_superuser: bool,
    pub is_verified: bool,
    pub must_change: bool,
    pub is_banned: bool,
    /// Which of the two is proved, where that is told apart.
    pub has_email: bool,
    pub has_phone: bool,
    pub lock: Option<Lock>,
    pub bio: String,
    pub timezone: String,
    pub language: String,
    /// Codes of what they hold.
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
    /// What members of organizations are named by.
    pub key: Option<String>,
    /// What stays behind.
    pub lacks: Vec<String>,
    /// What is wrong with what the file says.
    pub problem: Option<String>,
}

/// How long somebody is locked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    UntilLifted,
    /// The longest that such a lock lasts.
    ADay,
}

/// What the operator takes a file's word for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    pub is_verified: bool,
    pub has_rights: bool,
}

/// An account that could be made.
#[derive(Debug)]
pub(super) struct Ready {
    pub new: NewAccount,
    pub is_active: bool,
    pub is_banned: bool,
    pub lock: Option<Lock>,
    pub proved: Vec<Channel>,
    pub fields: Vec<Field>,
    pub granted: Vec<Granted>,
    /// What the account lacks that the person had.
    pub without: Vec<String>,
}

/// Where addresses, numbers and names stood in this file before.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<String, String>);

impl Person {
    /// The account that they would have, or why they get none.
    pub fn ready(self, trust: Trust, definitions: &Definitions, known: &mut Known) -> Result<Ready, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let mut without = self.lacks.clone();
        let (email, username) = self.names(&mut without)?;
        let phone = some(&self.phone).map(Phone::parse).transpose();
        let phone = phone.map_err(|_| "not a phone number with country code, such as +33612345678")?;
        if email.is_none() && phone.is_none() {
            return Err("nothing to log in with: neither an e-mail address nor a phone number".to_owned());
        }
        let password_hash = readable(&self.hash, &mut without);
        if (self.is_staff || self.is_superuser) && !trust.has_rights {
            without.push("being staff or superuser (`--with-rights` takes it over)".to_owned());
        }
        // Else nobody could do what superusers do, or somebody could who may not.
        let is_shut_out = self.is_inactive || self.is_banned || self.lock.is_some();
        if self.is_superuser && trust.has_rights && is_shut_out {
            without.push("being superuser: they may not log in there".to_owned());
        }
        let new = NewAccount {
            must_change_password: self.must_change && password_hash.is_some(),
            password_hash,
            first_name: name(&self.first_name, "first", &mut without),
            last_name: name(&self.last_name, "last", &mut without),
            is_staff: self.is_staff && trust.has_rights,
            is_superuser: self.is_superuser && trust.has_rights && !is_shut_out,
            is_verified: self.is_verified || trust.is_verified,
            email,
            phone,
            username,
            ..NewAccount::of(DEFAULT_SITE)
        };
        known.note(&new, &self.place)?;
        let proved = [(Channel::Email, self.has_email), (Channel::Phone, self.has_phone)];
        Ok(Ready {
            is_active: !self.is_inactive,
            is_banned: self.is_banned,
            lock: self.lock,
            proved: proved.into_iter().filter_map(|(channel, is_so)| is_so.then_some(channel)).collect(),
            fields: self.fields(),
            granted: self.granted(trust, definitions, &mut without),
            new,
            without,
        })
    }

    /// What a profile says beside the name.
    fn fields(&self) -> Vec<Field> {
        let kept =
            |text: &str, most: usize| some(text).map(|text| text.chars().take(most).collect::<String>());
        let bio = kept(&self.bio, BIO_MAX).map(Field::Bio);
        let timezone = kept(&self.timezone, TIMEZONE_MAX).map(Field::Timezone);
        let language = kept(&self.language, LANGUAGE_MAX).map(Field::Language);
        [bio, timezone, language].into_iter().flatten().collect()
    }

    /// What they held there and there is here, if the operator says so.
    fn granted(&self, trust: Trust, definitions: &Definitions, without: &mut Vec<String>) -> Vec<Granted> {
        let roles = self.roles.iter().map(|code| (code, Granted::Role as fn(Code) -> Granted, "role"));
        let permissions = self
            .permissions
            .iter()
            .map(|code| (code, Granted::Permission as fn(Code) -> Granted, "permission"));
        let mut all = Vec::new();
        for (code, of, kind) in roles.chain(permissions) {
            let known = Code::parse(code).ok().map(of).filter(|own| own.is_defined_in(definitions));
            match known {
                Some(_) if !trust.has_rights => {
                    without.push(format!("the {kind} {code} (`--with-rights` takes it over)"));
                }
                Some(own) => all.push(own),
                None => without.push(format!("the {kind} {}: there is none here", code.escape_debug())),
            }
        }
        all
    }

    /// The e-mail address, and the user name as far as it can be one here.
    fn names(&self, without: &mut Vec<String>) -> Result<(Option<Email>, Option<Username>), String> {
        let given = some(&self.email).map(|text| Email::parse(text).map_err(|_| "not an e-mail address"));
        let mut email = given.transpose()?;
        let username = match some(&self.username).map(|text| (Username::parse(text), Email::parse(text))) {
            Some((Ok(username), _)) => Some(username),
            // Where people are called by their addresses, the address says it.
            Some((_, Ok(address))) if email.as_ref().is_none_or(|email| *email == address) => {
                email = Some(address);
                None
            }
            Some(_) => {
                without.push("a user name: only letters, digits and _ . - + can be in one here".to_owned());
                None
            }
            None => None,
        };
        Ok((email, username))
    }
}

impl Known {
    fn note(&mut self, new: &NewAccount, place: &str) -> Result<(), String> {
        let email = new.email.as_ref().map(|email| format!("e-mail address {email}"));
        let phone = new.phone.as_ref().map(|phone| format!("phone number {phone}"));
        let username = new.username.as_ref().map(|username| format!("user name {username}"));
        let all: Vec<String> = [email, phone, username].into_iter().flatten().collect();
        if let Some((what, before)) = all.iter().find_map(|what| Some((what, self.0.get(what)?))) {
            return Err(format!("the {what} stands at {before} already"));
        }
        self.0.extend(all.into_iter().map(|what| (what, place.to_owned())));
        Ok(())
    }
}

fn some(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// A hash that can be verified here.
fn readable(hash: &str, without: &mut Vec<String>) -> Option<PasswordHash> {
    let hash = some(hash)?;
    let can_be_kept = hash.len() <= HASH_MAX && hash.bytes().all(|byte| byte.is_ascii_graphic());
    if can_be_kept && password::is_readable(hash) {
        return Some(PasswordHash::new(hash.to_owned()));
    }
    // Django marks so whoever has no password.
    if !hash.starts_with('!') {
        without.push("a password: its hash is of a kind, or at a cost, that is not verified here".to_owned());
    }
    None
}

fn name(text: &str, which: &str, without: &mut Vec<String>) -> String {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if text.chars().count() <= NAME_MAX {
        return text;
    }
    without.push(format!("a part of the {which} name: {NAME_MAX} characters are kept"));
    text.chars().take(NAME_MAX).collect()
}
