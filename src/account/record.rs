//! `Account`: a person as the store knows them, and the small types around it.
//!
//! Law: a password hash never shows itself; whether an account may act is asked in one place
//! ([`Account::standing`]).

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::audit::Contact;
use crate::base::{Email, Id, Number, Phone, Timestamp};
use crate::principal::AccountFacts;
use crate::store::FromRow;
use crate::text_column;

/// A person.
#[derive(Debug, Clone, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is a fact of its own, as on the wire")]
pub struct Account {
    pub id: Id,
    pub number: Number,
    pub site: Id,
    pub email: Option<Email>,
    pub phone: Option<Phone>,
    pub username: Option<Username>,
    /// Wished for, and not yet proved to be theirs.
    pub pending_email: Option<Email>,
    pub pending_phone: Option<Phone>,
    /// `None`: this account has no password to log in with.
    pub password_hash: Option<PasswordHash>,
    pub password_changed_at: Option<Timestamp>,
    pub must_change_password: bool,
    pub first_name: String,
    pub last_name: String,
    pub bio: String,
    pub timezone: String,
    pub language: String,
    custom_fields: Option<String>,
    pub is_active: bool,
    pub is_banned: bool,
    pub is_staff: bool,
    pub is_superuser: bool,
    pub is_email_verified: bool,
    pub is_phone_verified: bool,
    is_locked: bool,
    locked_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_login_at: Option<Timestamp>,
    /// Since when a login asks for a second factor; `None`: it does not.
    pub second_factor_at: Option<Timestamp>,
    /// Since when nothing is known of the person any more.
    pub deleted_at: Option<Timestamp>,
}

/// Whether an account may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Good,
    /// There is nobody any more.
    Deleted,
    Inactive,
    Banned,
    /// By an administrator; without an end until it is lifted.
    Locked {
        until: Option<Timestamp>,
    },
}

/// An administrator's lock; without an end it holds until it is lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lock {
    pub until: Option<Timestamp>,
}

impl Account {
    /// Whether it may log in and be spoken for at this moment.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.deleted_at.is_some() {
            Standing::Deleted
        } else if self.is_banned {
            Standing::Banned
        } else if !self.is_active {
            Standing::Inactive
        } else if let Some(Lock { until }) = self.lock(now) {
            Standing::Locked { until }
        } else {
            Standing::Good
        }
    }

    /// The administrator's lock, if one holds at this moment.
    #[must_use]
    pub fn lock(&self, now: Timestamp) -> Option<Lock> {
        let holds = self.is_locked && self.locked_until.is_none_or(|until| until > now);
        holds.then_some(Lock { until: self.locked_until })
    }

    /// An account that is not in any store: what `new` would become. For answers that must not
    /// tell whether it did.
    #[must_use]
    pub fn imagined(new: &NewAccount, id: Id, now: Timestamp) -> Self {
        let NewAccount { email, phone, username, first_name, last_name, .. } = new.clone();
        Self {
            id,
            number: Number(0),
            site: new.site,
            is_email_verified: new.is_verified && email.is_some(),
            is_phone_verified: new.is_verified && phone.is_some(),
            email,
            phone,
            username,
            pending_email: None,
            pending_phone: None,
            password_hash: None,
            password_changed_at: Some(now),
            must_change_password: new.must_change_password,
            first_name,
            last_name,
            bio: String::new(),
            timezone: String::new(),
            language: String::new(),
            custom_fields: None,
            is_active: true,
            is_banned: false,
            is_staff: new.is_staff,
            is_superuser: new.is_superuser,
            is_locked: false,
            locked_until: None,
            created_at: now,
            updated_at: now,
            last_login_at: None,
            second_factor_at: None,
            deleted_at: None,
        }
    }

    /// Whatever JSON the person keeps here.
    #[must_use]
    pub fn custom_fields(&self) -> Value {
        self.custom_fields.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
    }

    /// How the person is reached.
    #[must_use]
    pub fn has(&self, contact: Contact) -> Option<Target> {
        match contact {
            Contact::Email => self.email.clone().map(Target::Email),
            Contact::Phone => self.phone.clone().map(Target::Phone),
        }
    }

    /// How the person wants to be reached, once it is proved to be theirs.
    #[must_use]
    pub fn wished(&self, contact: Contact) -> Option<Target> {
        match contact {
            Contact::Email => self.pending_email.clone().map(Target::Email),
            Contact::Phone => self.pending_phone.clone().map(Target::Phone),
        }
    }

    /// What a decision about a request may ask.
    #[must_use]
    pub fn facts(&self) -> AccountFacts {
        AccountFacts {
            id: self.id,
            number: self.number,
            site: self.site,
            email: self.email.clone(),
            phone: self.phone.clone(),
            username: self.username.as_ref().map(ToString::to_string),
            first_name: self.first_name.clone(),
            last_name: self.last_name.clone(),
            is_staff: self.is_staff,
            is_superuser: self.is_superuser,
            is_email_verified: self.is_email_verified,
            is_phone_verified: self.is_phone_verified,
            has_second_factor: self.second_factor_at.is_some(),
        }
    }
}

/// A stored password hash.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

text_column!(PasswordHash, |text| Some(PasswordHash(text.to_owned())));

/// A user name: 1 to 191 ASCII letters, digits, `_`, `.`, `-`, `+`, in lower case. An `@` is
/// refused, so that it is never taken for an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

/// The text is not a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAUsername;

impl fmt::Display for NotAUsername {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enter a valid user name: letters, digits and the signs _ . - +")
    }
}

impl std::error::Error for NotAUsername {}

impl Username {
    /// Lower-cases and checks.
    ///
    /// # Errors
    /// [`NotAUsername`].
    pub fn parse(text: &str) -> Result<Self, NotAUsername> {
        let text = text.trim().to_ascii_lowercase();
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte);
        let has_letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
        let ok = text.len() <= 191 && has_letter && text.bytes().all(is_fine);
        if ok { Ok(Self(text)) } else { Err(NotAUsername) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_column!(Username, |text| Username::parse(text).ok());

/// How somebody names an account: on the command line, in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    Id(Id),
    Number(Number),
    Email(Email),
    Phone(Phone),
    Username(Username),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Email(email) => write!(f, "{email}"),
            Self::Phone(phone) => write!(f, "{phone}"),
            Self::Username(username) => write!(f, "{username}"),
        }
    }
}

/// The text names no account in any of the ways there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAReference;

impl fmt::Display for NotAReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an e-mail address, phone number, user name, number or id")
    }
}

impl std::error::Error for NotAReference {}

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        if let Ok(id) = text.parse::<Id>() {
            Ok(Self::Id(id))
        } else if text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse::<i64>()
        {
            // Digits alone: `+33612345678` would parse as a number too.
            Ok(Self::Number(Number(number)))
        } else if let Ok(email) = Email::parse(text) {
            Ok(Self::Email(email))
        } else if let Ok(phone) = Phone::parse(text) {
            Ok(Self::Phone(phone))
        } else {
            Username::parse(text).map(Self::Username).map_err(|_| NotAReference)
        }
    }
}

/// What a new account begins with.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each flag is a fact of its own, as on the wire")]
pub struct NewAccount {
    pub site: Id,
    pub email: Option<Email>,
    pub phone: Option<Phone>,
    pub username: Option<Username>,
    pub password_hash: Option<PasswordHash>,
    pub must_change_password: bool,
    pub first_name: String,
    pub last_name: String,
    pub is_staff: bool,
    pub is_superuser: bool,
    /// Whether e-mail address and phone number count as proved from the start.
    pub is_verified: bool,
}

impl NewAccount {
    /// An ordinary account of this site with nothing set.
    #[must_use]
    pub const fn of(site: Id) -> Self {
        Self {
            site,
            email: None,
            phone: None,
            username: None,
            password_hash: None,
            must_change_password: false,
            first_name: String::new(),
            last_name: String::new(),
            is_staff: false,
            is_superuser: false,
            is_verified: false,
        }
    }
}

/// A way to reach a person, which they can prove to be theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Email,
    Phone,
}

/// An address or a number to reach a person by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Email(Email),
    Phone(Phone),
}

impl Target {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Email(email) => email.as_str(),
            Self::Phone(phone) => phone.as_str(),
        }
    }

    #[must_use]
    pub const fn contact(&self) -> Contact {
        match self {
            Self::Email(_) => Contact::Email,
            Self::Phone(_) => Contact::Phone,
        }
    }

    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Phone(_) => Channel::Phone,
        }
    }
}

/// Whether a password is the person's own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MustChange {
    No,
    /// Somebody else set it: the next login opens nothing but changing it.
    AtNextLogin,
}

/// One field of a profile, with its new value.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    Username(Option<Username>),
    FirstName(String),
    LastName(String),
    Bio(String),
    Timezone(String),
    Language(String),
    Custom(Option<Value>),
    /// As somebody else says; nothing is proved by that.
    Email(Email),
    PendingEmail(Option<Email>),
    PendingPhone(Option<Phone>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_plain_and_in_lower_case() {
        assert_eq!(Username::parse(" Ada.L-1+x_ ").unwrap().as_str(), "ada.l-1+x_");
        for text in ["", "a b", "a@b.c", "ädа", "a/b", "123", "..", &"a".repeat(192)] {
            assert_eq!(Username::parse(text), Err(NotAUsername), "{text:?}");
        }
    }

    #[test]
    fn an_account_can_be_named_in_five_ways() {
        let reference = |text: &str| text.parse::<Reference>();
        assert!(matches!(reference("0190b8a2-7c1e-7f00-8000-00000000000a"), Ok(Reference::Id(_))));
        assert_eq!(reference("42"), Ok(Reference::Number(Number(42))));
        assert!(matches!(reference("Ada@Example.com"), Ok(Reference::Email(_))));
        assert!(matches!(reference("+33 612 34 56 78"), Ok(Reference::Phone(_))));
        assert!(matches!(reference("+33612345678"), Ok(Reference::Phone(_))));
        assert!(matches!(reference("ada"), Ok(Reference::Username(_))));
        assert_eq!(reference("a b"), Err(NotAReference));
    }

    #[test]
    fn a_password_hash_does_not_show_itself() {
        assert_eq!(format!("{:?}", PasswordHash::new("$argon2id$x".to_owned())), "[secret]");
    }
}
