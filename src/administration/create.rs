//! A new person: `POST admin/users/`.
//!
//! Law: somebody new holds nothing and has proved nothing. A password that somebody else chose opens nothing
//! but choosing another one, unless that is said otherwise.

use schemars::JsonSchema;

use super::NAME_MAX;
use super::deed::{OneOf, Refused, permit};
use super::view::Detail;
use crate::account::{self, Account, NewAccount, PasswordHash, Taken, Username};
use crate::audit::How;
use crate::base::{Email, Phone, Secret};
use crate::crypto::password::MAX_BYTES;
use crate::crypto::password::policy::Owner;
use crate::http::fields::WHOLE;
use crate::http::{ApiError, Bucket, Call, Created, ErrorCode, Fields, FromFields, Json, Row, post};
use crate::login;
use crate::policy::{Assignments, Code};
use crate::rbac::{self, Authority};
use crate::store::again;

pub(super) fn rows() -> Vec<Row> {
    vec![
        post("/admin/users/", create)
            .allow("users.create")
            .limit(Bucket::Users)
            .codes(&[ErrorCode::PasswordBreached, ErrorCode::Overloaded])
            .strict()
            .audited(&["account_created"])
            .about("Make an account for somebody"),
    ]
}

/// Somebody new.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "AdminUserNew")]
struct NewBody {
    /// This or `phone`, or both.
    #[schemars(with = "Option<String>")]
    email: Option<Email>,
    /// With its country code: +33612345678.
    #[schemars(with = "Option<String>")]
    phone: Option<Phone>,
    #[schemars(with = "Option<String>")]
    username: Option<Username>,
    #[schemars(with = "Option<String>")]
    first_name: String,
    #[schemars(with = "Option<String>")]
    last_name: String,
    /// Without it they log in by a code or link that is sent to them, or choose one by what is sent to whoever
    /// forgot theirs.
    #[schemars(with = "Option<String>")]
    password: Option<Secret<String>>,
    /// Whether the first login opens nothing but choosing another password: true if absent.
    #[schemars(with = "Option<bool>")]
    must_change_password: bool,
}

impl FromFields for NewBody {
    fn from_fields(fields: &mut Fields) -> Option<Self> {
        let email = fields.optional("email").or_null().email();
        let phone = fields.optional("phone").or_null().parsed(Phone::parse);
        let username = fields.optional("username").or_null().parsed(Username::parse);
        let first_name = fields.optional("first_name").max(NAME_MAX).or_blank().text();
        let last_name = fields.optional("last_name").max(NAME_MAX).or_blank().text();
        let password = fields.optional("password").max(MAX_BYTES).or_null().secret();
        let must_change_password = fields.optional("must_change_password").flag().unwrap_or(true);
        if email.is_none() && phone.is_none() && fields.problems().is_empty() {
            fields.problem(WHOLE, "Email or phone number is required");
        }
        Some(Self {
            email,
            phone,
            username,
            first_name: first_name.unwrap_or_default(),
            last_name: last_name.unwrap_or_default(),
            password,
            must_change_password,
        })
    }
}

async fn create(call: Call, Json(body): Json<NewBody>) -> Result<Created<Detail>, ApiError> {
    let newcomer = Newcomer {
        email: body.email,
        phone: body.phone,
        username: body.username,
        first_name: body.first_name,
        last_name: body.last_name,
        password: body.password,
        must_change_password: body.must_change_password,
        ..Newcomer::default()
    };
    let (made, held) = make(&call, newcomer).await?;
    Ok(Created(Detail::of(&call.app, &made, held)))
}

/// Somebody new, as an administrator describes them.
#[derive(Debug, Default)]
pub struct Newcomer {
    pub email: Option<Email>,
    pub phone: Option<Phone>,
    pub username: Option<Username>,
    pub first_name: String,
    pub last_name: String,
    pub password: Option<Secret<String>>,
    pub must_change_password: bool,
    /// A role to begin with, which the maker could give to anybody.
    pub role: Option<Code>,
    /// Permissions of their own, the same.
    pub permissions: Vec<Code>,
}

/// Makes an account on the caller's site, with what it begins with, or nothing at all; the account, and what it
/// was granted.
///
/// # Errors
/// What the endpoint answers.
pub async fn make(call: &Call, newcomer: Newcomer) -> Result<(Account, Assignments), ApiError> {
    let person = call.person()?;
    let owner = Owner {
        email: newcomer.email.as_ref().map(Email::as_str),
        username: newcomer.username.as_ref().map(Username::as_str),
    };
    let password_hash: Option<PasswordHash> = match newcomer.password {
        Some(password) => Some(login::granted(&call.app, password, &owner).await?),
        None => None,
    };
    let new = NewAccount {
        must_change_password: newcomer.must_change_password && password_hash.is_some(),
        email: newcomer.email,
        phone: newcomer.phone,
        username: newcomer.username,
        password_hash,
        first_name: newcomer.first_name,
        last_name: newcomer.last_name,
        ..NewAccount::of(person.account.site)
    };
    let role = newcomer.role.map(|code| OneOf { among: Vec::new(), wanted: Some(code) });
    let made: Result<(Account, Assignments), Refused> = again(|| async {
        let mut change = call.app.change(call.actor()).await?;
        let by = Authority::take(&mut change, person.account.id, &["users.create"]).await?;
        let made = account::create(&mut change, &new, How::Administrator).await.map_err(Refused::Write)?;
        let nothing = Assignments::default();
        if let Some(role) = &role {
            role.give(&mut change, &by, made.id, &nothing).await?;
        }
        permit(&mut change, &by, made.id, &nothing, &newcomer.permissions).await?;
        // Before it is made for good: what was done is never answered with a refusal.
        let held = rbac::assignments(change.tx(), made.id).await?;
        change.commit().await?;
        Ok((made, held))
    })
    .await;
    made.map_err(ApiError::from)
}

/// What somebody is told who wanted what somebody else has.
pub(super) fn taken(taken: Taken) -> ApiError {
    let (field, text) = match taken {
        Taken::Email => ("email", "A user with that email already exists."),
        Taken::Phone => ("phone", "A user with that phone number already exists."),
        Taken::Username => ("username", "A user with that username already exists."),
    };
    ApiError::invalid(field, &[text.to_owned()])
}
