//! `Fields`: reads the fields of a body or query, and reports everything that is wrong at once.
//!
//! Law: every name that an input offers is asked for here, so a name that was sent and not asked
//! for is known to be unknown. Unknown names are ignored, except those that would grant something
//! ([`PRIVILEGED`]): these are refused everywhere they are not offered, so that a client never
//! believes that it set one. Messages are those of the contract's wire (sections 1.5 and 8.2).

use std::collections::HashMap;
use std::fmt::{self, Display};

use serde_json::{Map, Value};

use super::code::ErrorCode;
use super::error::ApiError;
use crate::base::{Email, MicroUsd, Secret, Timestamp};

/// Names that would grant rights or trust.
pub const PRIVILEGED: [&str; 21] = [
    "is_staff",
    "is_superuser",
    "is_admin",
    "is_active",
    "is_banned",
    "is_locked",
    "is_verified",
    "is_email_verified",
    "is_phone_verified",
    "is_2fa_enabled",
    "email_verified",
    "phone_verified",
    "role",
    "roles",
    "permission",
    "permissions",
    "groups",
    "scope",
    "site",
    "password_hash",
    "totp_secret",
];

/// What is said of a name that nothing has, or that nobody may set, begins so.
pub const NOT_OFFERED: &str = "Not offered here";

/// The key under which problems of no single field are reported.
pub const WHOLE: &str = "non_field_errors";

/// What to do with a name that the input does not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Ignored,
    Refused,
}

/// The fields of one request, and what was found wrong with them.
pub struct Fields {
    given: Map<String, Value>,
    /// The texts of numbers that are not whole.
    numbers: HashMap<String, String>,
    asked: Vec<&'static str>,
    problems: Map<String, Value>,
}

impl fmt::Debug for Fields {
    /// Passwords stand among what was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Fields {
    #[must_use]
    pub fn new(given: Map<String, Value>) -> Self {
        Self { given, numbers: HashMap::new(), asked: Vec::new(), problems: Map::new() }
    }

    /// The same, knowing how numbers were written that a floating-point number may not keep.
    #[must_use]
    pub fn with_numbers(self, numbers: HashMap<String, String>) -> Self {
        Self { numbers, ..self }
    }

    /// A field without which the input is refused.
    pub fn required(&mut self, name: &'static str) -> Field<'_> {
        self.field(name, Absent::Refused)
    }

    /// A field that may be left out.
    pub fn optional(&mut self, name: &'static str) -> Field<'_> {
        self.field(name, Absent::Fine)
    }

    /// Whether the field was sent as `null`, where null has a meaning of its own.
    pub fn is_null(&mut self, name: &'static str) -> bool {
        self.asked.push(name);
        self.given.get(name).is_some_and(Value::is_null)
    }

    /// Notes that something is wrong with a field, or with [`WHOLE`].
    pub fn problem(&mut self, name: &str, message: impl Into<String>) {
        let list = self.problems.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::String(message.into()));
        }
    }

    /// Notes that something is wrong with one member of a list.
    pub fn problem_in(&mut self, name: &str, place: usize, message: impl Into<String>) {
        let members = self.problems.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(members) = members {
            members.insert(place.to_string(), Value::Array(vec![Value::String(message.into())]));
        }
    }

    /// Takes over what was wrong with the fields of an object within this one, as `name.field`.
    pub fn absorb(&mut self, name: &str, mut inner: Self, unknown: Unknown) {
        inner.judge_unknown(unknown);
        for (field, list) in inner.problems {
            self.problems.insert(format!("{name}.{field}"), list);
        }
    }

    /// Refuses the request if anything was wrong with it.
    pub fn finish(mut self, unknown: Unknown) -> Result<(), ApiError> {
        self.judge_unknown(unknown);
        if self.problems.is_empty() {
            return Ok(());
        }
        let error = ApiError::new(ErrorCode::ValidationError);
        Err(self.problems.into_iter().fold(error, |error, (name, list)| error.detail(&name, list)))
    }

    fn judge_unknown(&mut self, unknown: Unknown) {
        let given = std::mem::take(&mut self.given).into_iter().map(|(name, _)| name);
        let is_refused = |name: &str| unknown == Unknown::Refused || PRIVILEGED.contains(&name);
        let refused = given.filter(|name| !self.asked.contains(&name.as_str()) && is_refused(name));
        let refused: Vec<String> = refused.collect();
        if refused.is_empty() {
            return;
        }
        let told = self.what_is_offered();
        for name in &refused {
            self.problem(name, told.as_str());
        }
    }

    /// Whoever misspelt a name looks for the right one; whoever may not set one learns that nobody does.
    fn what_is_offered(&self) -> String {
        let mut offered: Vec<&str> = Vec::new();
        for name in &self.asked {
            if !offered.contains(name) {
                offered.push(name);
            }
        }
        if offered.is_empty() {
            format!("{NOT_OFFERED}: nothing is.")
        } else {
            format!("{NOT_OFFERED}. What is: {}.", offered.join(", "))
        }
    }

    /// The names asked for so far, for the law that the documented schema names the same ones.
    #[must_use]
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// What was found wrong so far.
    #[must_use]
    pub const fn problems(&self) -> &Map<String, Value> {
        &self.problems
    }

    fn field(&mut self, name: &'static str, absent: Absent) -> Field<'_> {
        self.asked.push(name);
        Field {
            fields: self,
            name,
            absent,
            is_null_fine: false,
            is_blank_fine: false,
            min: 0,
            max: usize::MAX,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Refused,
    Fine,
}

/// One field being read. Lengths count characters.
pub struct Field<'f> {
    fields: &'f mut Fields,
    name: &'static str,
    absent: Absent,
    is_null_fine: bool,
    is_blank_fine: bool,
    min: usize,
    max: usize,
}

impl Field<'_> {
    #[must_use]
    pub const fn min(mut self, characters: usize) -> Self {
        self.min = characters;
        self
    }

    #[must_use]
    pub const fn max(mut self, characters: usize) -> Self {
        self.max = characters;
        self
    }

    /// Takes `null` for a field that was left out.
    #[must_use]
    pub const fn or_null(mut self) -> Self {
        self.is_null_fine = true;
        self
    }

    /// Accepts an empty text as a value.
    #[must_use]
    pub const fn or_blank(mut self) -> Self {
        self.is_blank_fine = true;
        self
    }

    /// Text, with the blanks around it removed.
    pub fn text(mut self) -> Option<String> {
        let value = self.string()?;
        let text = value.trim();
        if text.contains('\0') {
            return self.refuse("Null characters are not allowed.");
        }
        self.within(text.to_owned())
    }

    /// A secret: text exactly as it was sent.
    pub fn secret(mut self) -> Option<Secret<String>> {
        let value = self.string()?;
        self.within(value).map(Secret::new)
    }

    /// Text that becomes a value of its own kind; a refusal's words go to the client.
    pub fn parsed<T, E: Display>(self, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let Self { name, absent, is_null_fine, is_blank_fine, min, max, fields } = self;
        let text =
            Field { name, absent, is_null_fine, is_blank_fine, min, max, fields: &mut *fields }.text()?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(refused) => {
                fields.problem(name, refused.to_string());
                None
            }
        }
    }

    pub fn email(self) -> Option<Email> {
        self.parsed(Email::parse)
    }

    /// `true` or `false`; the words as well, because forms have only text.
    pub fn flag(mut self) -> Option<bool> {
        match self.value()? {
            Value::Bool(flag) => Some(flag),
            // Of forms and queries, in which everything is text.
            Value::String(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(true),
                "false" | "0" | "no" => Some(false),
                _ => self.refuse("Must be a valid boolean."),
            },
            _ => self.refuse("Must be a valid boolean."),
        }
    }

    /// A moment: RFC 3339, or a day, which is its first moment in UTC.
    pub fn moment(self) -> Option<Timestamp> {
        self.parsed(|text| {
            Timestamp::parse(text).ok_or("A moment as RFC 3339 writes it, or a day: 2026-11-20.")
        })
    }

    /// A whole number as JSON writes one, within these bounds.
    pub fn whole(mut self, least: u64, most: u64) -> Option<u64> {
        let value = self.value()?;
        match value.as_u64() {
            Some(number) if number > most => {
                self.refuse(&format!("Ensure this value is less than or equal to {most}."))
            }
            Some(number) if number >= least => Some(number),
            None if !value.is_i64() => self.refuse("A valid integer is required."),
            _ => self.refuse(&format!("Ensure this value is greater than or equal to {least}.")),
        }
    }

    /// An amount of dollars, read from the number's text.
    pub fn amount(mut self) -> Option<MicroUsd> {
        let Value::Number(number) = self.value()? else { return self.refuse("A valid number is required.") };
        let text = self.fields.numbers.get(self.name).cloned().unwrap_or_else(|| number.to_string());
        match MicroUsd::parse(&text) {
            Ok(amount) => Some(amount),
            Err(refused) => self.refuse(&refused.to_string()),
        }
    }

    /// Any JSON value, `null` included where [`Field::or_null`] was not said.
    pub fn json(mut self) -> Option<Value> {
        if !self.is_null_fine && self.fields.given.get(self.name).is_some_and(Value::is_null) {
            return Some(Value::Null);
        }
        self.value()
    }

    fn within(mut self, text: String) -> Option<String> {
        let length = text.chars().count();
        if text.is_empty() && !self.is_blank_fine {
            self.refuse("This field may not be blank.")
        } else if length > self.max {
            let message = format!("Ensure this field has no more than {} characters.", self.max);
            self.refuse(&message)
        } else if length < self.min {
            let message = format!("Ensure this field has at least {} characters.", self.min);
            self.refuse(&message)
        } else {
            Some(text)
        }
    }

    fn string(&mut self) -> Option<String> {
        match self.value()? {
            Value::String(text) => Some(text),
            _ => self.refuse("Not a valid string."),
        }
    }

    /// Takes the value out, leaving its name to be recognised as asked for.
    fn value(&mut self) -> Option<Value> {
        match self.fields.given.get_mut(self.name).map(Value::take) {
            None if self.absent == Absent::Fine => None,
            None => self.refuse("This field is required."),
            Some(Value::Null) if self.is_null_fine && self.absent == Absent::Fine => None,
            Some(Value::Null) => self.refuse("This field may not be null."),
            Some(value) => Some(value),
        }
    }

    fn refuse<T>(&mut self, message: &str) -> Option<T> {
        self.fields.problem(self.name, message);
        None
    }
}

#[cfg(test)]
mod tests;
