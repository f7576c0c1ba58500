//! The rows of `permissions/`, `roles/`, `groups/` and of what people have of them (contract section 19).
//!
//! Law: each row names its own permission, and every change is judged again within its transaction, where
//! nobody else changes rights. Fields that are not offered are refused by name. People of other sites do
//! not exist.

mod groups;
mod permissions;
mod roles;
mod users;
mod view;

use serde_json::Value;

use super::define::{self, DESCRIPTION_MAX, NAME_MAX};
use super::{Granted, Outcome, Refused};
use crate::app::Change;
use crate::base::Id;
use crate::http::{ApiError, Call, ErrorCode, Fields, Row};
use crate::policy::Code;

/// Endpoints for those who manage rights.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = permissions::rows();
    rows.extend(roles::rows());
    rows.extend(groups::rows());
    rows.extend(users::rows());
    rows
}

/// How many codes one request names.
const CODES_MAX: usize = 200;

/// What changing a definition may answer.
const REFUSALS: [ErrorCode; 4] =
    [ErrorCode::NotFound, ErrorCode::PermissionDenied, ErrorCode::ManagedByConfig, ErrorCode::BuiltIn];

/// Whether a search for `part`, in small letters, finds a definition.
fn is_sought(part: &str, code: &Code, name: &str) -> bool {
    code.as_str().contains(part) || name.to_lowercase().contains(part)
}

/// Who changes rights here.
fn caller(call: &Call) -> Result<Id, ApiError> {
    Ok(call.person()?.account.id)
}

/// Makes it so where there was anything to change.
async fn conclude(change: Change<'_>, outcome: Outcome) -> Result<(), Refused> {
    match outcome {
        Outcome::Changed => Ok(change.commit().await?),
        Outcome::Unchanged => Ok(()),
    }
}

/// A code that is made here.
fn new_code(fields: &mut Fields) -> Option<Code> {
    fields.required("code").max(NAME_MAX).parsed(define::new_code)
}

/// A list of codes; each one that is none is told by its place.
fn codes(fields: &mut Fields, name: &'static str, is_required: bool) -> Option<Vec<Code>> {
    let field = if is_required { fields.required(name) } else { fields.optional(name).or_null() };
    let members = match field.json()? {
        Value::Array(members) if members.len() <= CODES_MAX => members,
        Value::Array(_) => {
            fields.problem(name, format!("Ensure this field has no more than {CODES_MAX} elements."));
            return None;
        }
        _ => {
            fields.problem(name, "Expected a list of items.");
            return None;
        }
    };
    if is_required && members.is_empty() {
        fields.problem(name, "This list may not be empty.");
        return None;
    }
    let mut all = Vec::new();
    for (place, member) in members.iter().enumerate() {
        match member.as_str().and_then(|text| Code::parse(text).ok()) {
            Some(code) if all.contains(&code) => {}
            Some(code) => all.push(code),
            None => fields.problem_in(name, place, "Not a code."),
        }
    }
    Some(all)
}

/// Refuses codes that nothing defines, all of them at once.
fn all_known(known: &view::Known, codes: &[Code]) -> Result<(), ApiError> {
    let all = &known.definitions().permissions;
    let missing: Vec<String> =
        codes.iter().filter(|code| !all.contains_key(*code)).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::PermissionsNotFound).with("not_found", missing))
}

/// A code that was sent along although it stays what it is.
fn same_code(sent: Option<&str>, code: &Code) -> Result<(), ApiError> {
    match sent {
        Some(text) if text != code.as_str() => {
            Err(ApiError::invalid("code", &["A code stays what it is. Define another one.".to_owned()]))
        }
        _ => Ok(()),
    }
}

fn texts(codes: &[Code]) -> Vec<String> {
    codes.iter().map(ToString::to_string).collect()
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Undefined(Granted::Role(_)) => Self::new(ErrorCode::RoleNotFound),
            Refused::Undefined(Granted::Group(_)) => Self::new(ErrorCode::GroupNotFound),
            Refused::Undefined(Granted::Permission(code)) => {
                Self::new(ErrorCode::PermissionsNotFound).with("not_found", vec![code.to_string()])
            }
            Refused::NotForGroups => Self::new(ErrorCode::ValidationError).saying(text),
            Refused::ManagedByConfig(_) => Self::new(ErrorCode::ManagedByConfig),
            Refused::BuiltIn(_) => Self::new(ErrorCode::BuiltIn),
            Refused::Taken(granted) => {
                Self::invalid("code", &[format!("{} with this code already exists.", granted.kind())])
            }
            Refused::Circle(_) => Self::new(ErrorCode::CircularHierarchy),
            Refused::NotHeld(granted) => Self::new(ErrorCode::PermissionDenied)
                .saying("Nobody gives, takes or changes more than they hold themselves")
                .with("missing", vec![granted.to_string()]),
            Refused::HeldAgainst(granted) => Self::new(ErrorCode::PermissionDenied)
                .saying(
                    "A route shuts out whoever has this: only superusers and super_admin take or change it",
                )
                .with("missing", vec![granted.to_string()]),
            Refused::Full(_) => Self::new(ErrorCode::TooManyDefinitions),
            Refused::NotAllowed(code) => {
                Self::new(ErrorCode::PermissionRequired).with("missing", vec![code.to_string()])
            }
            Refused::HoldsMore(missing) => Self::new(ErrorCode::PermissionDenied)
                .saying("Nobody changes the account of somebody who holds more than they do")
                .with("missing", vec![missing]),
            Refused::LastAdministrator => Self::new(ErrorCode::LastAdministrator),
            Refused::Store(cause) => cause.into(),
        }
    }
}
