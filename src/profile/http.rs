//! The rows of `me/`.
//!
//! Law: a person sees and changes themselves, whatever the request names.

use schemars::JsonSchema;
use serde::Serialize;

use super::input::ProfileChange;
use crate::account::{self, Account, Field, Taken, Target, User, WriteError, user};
use crate::audit::Contact;
use crate::base::{Email, Phone};
use crate::http::{ApiError, Bucket, Call, ErrorCode, Json, Nothing, Row, get, patch};
use crate::login;
use crate::otp;
use crate::principal::Principal;

/// Endpoints for people about themselves.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        get("/me/", show).person().when_anonymous(ErrorCode::Unauthorized).about("My profile"),
        patch("/me/", change)
            .person()
            .when_anonymous(ErrorCode::Unauthorized)
            .limit(Bucket::Password)
            .codes(&[
                ErrorCode::ReauthRequired,
                ErrorCode::InvalidPassword,
                ErrorCode::PasswordlessAccount,
                ErrorCode::AccountLocked,
                ErrorCode::Overloaded,
            ])
            .audited(&["profile_changed", "contact_pending", "code_sent", "login_failed", "account_locked"])
            .about("Change my profile"),
        get("/me/roles/", roles).person().about("My roles and permissions"),
    ]
}

async fn show(call: Call, _: Nothing) -> Result<Json<User>, ApiError> {
    let person = call.person()?;
    let account = read(&call, person).await?;
    Ok(Json(shown(&account, person)))
}

/// What a person may do.
#[derive(Serialize, JsonSchema)]
struct Roles {
    /// Codes, sorted; inherited ones and those of groups included.
    roles: Vec<String>,
    /// Codes, sorted.
    permissions: Vec<String>,
}

async fn roles(call: Call, _: Nothing) -> Result<Json<Roles>, ApiError> {
    let rights = &call.person()?.rights;
    let texts = |codes: Vec<crate::policy::Code>| codes.iter().map(ToString::to_string).collect();
    Ok(Json(Roles { roles: texts(rights.roles()), permissions: texts(rights.codes()) }))
}

/// A profile after a change.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProfileChanged")]
struct Changed {
    message: &'static str,
    /// Names of what was sent and differs from what was.
    updated_fields: Vec<&'static str>,
    user: User,
    verification_required: Verification,
    /// What waits to be confirmed. Until then the old one stands in `user`.
    pending: Pending,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ContactsChanged")]
struct Verification {
    email_changed: bool,
    phone_changed: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PendingContacts")]
struct Pending {
    email: Option<String>,
    phone: Option<String>,
}

async fn change(call: Call, Json(body): Json<ProfileChange>) -> Result<Json<Changed>, ApiError> {
    changed(&call, body).await.map(Json)
}

/// The same for who changes it on a page.
///
/// # Errors
/// What the endpoint answers.
pub async fn edit(call: &Call, wish: ProfileChange) -> Result<(), ApiError> {
    changed(call, wish).await.map(drop)
}

async fn changed(call: &Call, body: ProfileChange) -> Result<Changed, ApiError> {
    let person = call.person()?;
    let account = read(call, person).await?;
    let mut fields = body.plain;
    fields.extend(withdrawn(&account, body.new_email.as_ref(), body.new_phone.as_ref()));
    let new_email = body.new_email.filter(|email| account.email.as_ref() != Some(email));
    let new_phone = body.new_phone.filter(|phone| account.phone.as_ref() != Some(phone));
    let verification_required =
        Verification { email_changed: new_email.is_some(), phone_changed: new_phone.is_some() };
    if verification_required.email_changed || verification_required.phone_changed {
        login::reauthenticate(call, &account, body.current_password).await?;
    }
    fields.extend(new_email.map(|email| Field::PendingEmail(Some(email))));
    fields.extend(new_phone.map(|phone| Field::PendingPhone(Some(phone))));
    let updated_fields = fields.iter().map(wire_name).collect();
    let account = if fields.is_empty() { account } else { write(call, &account, &fields).await? };
    let text = |text: &dyn ToString| text.to_string();
    Ok(Changed {
        message: "Profile updated successfully",
        updated_fields,
        user: shown(&account, person),
        verification_required,
        pending: Pending {
            email: account.pending_email.as_ref().map(|email| text(email)),
            phone: account.pending_phone.as_ref().map(|phone| text(phone)),
        },
    })
}

/// Wishes for no other address or number any more, on a page.
///
/// # Errors
/// What the endpoint answers where somebody asks for the one that they have.
pub async fn keep(call: &Call, contact: Contact) -> Result<(), ApiError> {
    let account = read(call, call.person()?).await?;
    let fields = match contact {
        Contact::Email => withdrawn(&account, account.email.as_ref(), None),
        Contact::Phone => withdrawn(&account, None, account.phone.as_ref()),
    };
    if fields.is_empty() { Ok(()) } else { write(call, &account, &fields).await.map(drop) }
}

/// Whoever asks for the address or number that they have wishes for no other one any more.
fn withdrawn(account: &Account, email: Option<&Email>, phone: Option<&Phone>) -> Vec<Field> {
    let mut fields = Vec::new();
    if email.is_some() && account.email.as_ref() == email && account.pending_email.is_some() {
        fields.push(Field::PendingEmail(None));
    }
    if phone.is_some() && account.phone.as_ref() == phone && account.pending_phone.is_some() {
        fields.push(Field::PendingPhone(None));
    }
    fields
}

async fn write(call: &Call, account: &Account, fields: &[Field]) -> Result<Account, ApiError> {
    let mut change = call.app.change(call.actor()).await?;
    match account::edit(&mut change, account.id, fields).await {
        Ok(Some(edited)) => {
            for field in fields {
                let target = match field {
                    Field::PendingEmail(Some(email)) => Target::Email(email.clone()),
                    Field::PendingPhone(Some(phone)) => Target::Phone(phone.clone()),
                    _ => continue,
                };
                otp::ask(&mut change, &edited, &target).await?;
            }
            change.commit().await?;
            Ok(edited)
        }
        Ok(None) => Err(gone()),
        Err(WriteError::Store(cause)) => Err(cause.into()),
        Err(WriteError::Taken(Taken::Username)) => {
            Err(ApiError::invalid("username", &["A user with that username already exists.".to_owned()]))
        }
        Err(WriteError::Taken(taken @ (Taken::Email | Taken::Phone))) => {
            Err(ApiError::internal(format!("a pending contact was taken for a present one: {taken:?}")))
        }
    }
}

/// The account as the store has it now; the principal may be older by a moment.
async fn read(call: &Call, person: &Principal) -> Result<Account, ApiError> {
    let account = account::by_id(&call.app.db, person.account.id).await?;
    account.ok_or_else(gone)
}

/// The account behind a session that was alive a moment ago.
fn gone() -> ApiError {
    ApiError::new(ErrorCode::Unauthorized).saying("Invalid or expired token")
}

fn shown(account: &Account, person: &Principal) -> User {
    user(account, &person.rights.roles(), &person.rights.codes())
}

const fn wire_name(field: &Field) -> &'static str {
    match field {
        Field::Username(_) => "username",
        Field::FirstName(_) => "first_name",
        Field::LastName(_) => "last_name",
        Field::Bio(_) => "bio",
        Field::Timezone(_) => "timezone",
        Field::Language(_) => "language",
        Field::Custom(_) => "custom_fields",
        Field::Email(_) | Field::PendingEmail(_) => "email",
        Field::PendingPhone(_) => "phone",
    }
}
