//! What `PATCH me/` takes (contract section 18).
//!
//! Law: every field is parsed before any is written, and all that is wrong is told at once.

use schemars::JsonSchema;
use serde_json::Value;

use crate::account::{Field, Username};
use crate::base::{Email, Phone, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::http::{Fields, FromFields};

const NAME_MAX: usize = 100;
const USERNAME_MAX: usize = 191;
const BIO_MAX: usize = 500;
const TIMEZONE_MAX: usize = 63;
const LANGUAGE_MAX: usize = 10;
/// Every answer that shows the person carries it.
const CUSTOM_MAX: usize = 16 * 1024;

/// Changes of a profile. What is left out stays as it is.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "ProfileChange")]
#[expect(dead_code, reason = "the fields of the wire; read into the ones that are skipped")]
pub struct ProfileChange {
    first_name: Option<String>,
    last_name: Option<String>,
    /// `null` removes it.
    username: Option<String>,
    bio: Option<String>,
    timezone: Option<String>,
    language: Option<String>,
    /// Any JSON, 16 KiB at most.
    custom_fields: Option<Value>,
    /// Asks for `current_password`, and stays pending until it is confirmed.
    email: Option<String>,
    /// With `phone_number`. Asks for `current_password`, and stays pending until it is confirmed.
    phone_country_code: Option<String>,
    phone_number: Option<String>,
    /// The present password: needed for a new e-mail address or phone number.
    #[schemars(with = "Option<String>")]
    pub(super) current_password: Option<Secret<String>>,
    /// What takes effect at once.
    #[schemars(skip)]
    pub(super) plain: Vec<Field>,
    #[schemars(skip)]
    pub(super) new_email: Option<Email>,
    #[schemars(skip)]
    pub(super) new_phone: Option<Phone>,
}

impl FromFields for ProfileChange {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let mut plain = Vec::new();
        plain.extend(fields.optional("first_name").max(NAME_MAX).text().map(Field::FirstName));
        plain.extend(fields.optional("last_name").max(NAME_MAX).text().map(Field::LastName));
        plain.extend(username(fields));
        plain.extend(fields.optional("bio").max(BIO_MAX).or_blank().text().map(Field::Bio));
        plain.extend(fields.optional("timezone").max(TIMEZONE_MAX).or_blank().text().map(Field::Timezone));
        plain.extend(fields.optional("language").max(LANGUAGE_MAX).or_blank().text().map(Field::Language));
        plain.extend(custom(fields));
        let new_email = fields.optional("email").email();
        let new_phone = phone(fields);
        let current_password = fields.optional("current_password").max(MAX_BYTES).or_null().secret();
        Some(Self {
            first_name: None,
            last_name: None,
            username: None,
            bio: None,
            timezone: None,
            language: None,
            custom_fields: None,
            email: None,
            phone_country_code: None,
            phone_number: None,
            current_password,
            plain,
            new_email,
            new_phone,
        })
    }
}

fn username(fields: &mut Fields) -> Option<Field> {
    if fields.is_null("username") {
        return Some(Field::Username(None));
    }
    let name = fields.optional("username").max(USERNAME_MAX).parsed(Username::parse)?;
    Some(Field::Username(Some(name)))
}

fn custom(fields: &mut Fields) -> Option<Field> {
    match fields.optional("custom_fields").json()? {
        Value::Null => Some(Field::Custom(None)),
        value if value.to_string().len() > CUSTOM_MAX => {
            fields.problem("custom_fields", "Ensure this field is no larger than 16 KiB.");
            None
        }
        value => Some(Field::Custom(Some(value))),
    }
}

/// Both halves of a phone number, or neither.
fn phone(fields: &mut Fields) -> Option<Phone> {
    let code = fields.optional("phone_country_code").max(5).text();
    let number = fields.optional("phone_number").max(20).text();
    let missing = match (&code, &number) {
        (Some(_), None) => "phone_number",
        (None, Some(_)) => "phone_country_code",
        _ => "",
    };
    if !missing.is_empty() && !fields.problems().contains_key(missing) {
        fields.problem(missing, "This field is required.");
    }
    match Phone::from_parts(&code?, &number?) {
        Ok(phone) => Some(phone),
        Err(refused) => {
            fields.problem("phone_number", refused.to_string());
            None
        }
    }
}
