//! The rows of `organizations/` (contract section 25), and what they have in common.
//!
//! Law: `X-Org-Slug` names the organization; one that the caller has nothing to do with does not exist. What
//! the caller may do there is judged again within the change. Fields that are not offered are refused by name.

mod invitations;
mod members;
mod roles;
mod tree;
mod trees;
mod view;

use serde_json::Value;

use super::{Inherit, Organization, Refused, context, directory, invitation, store};
use crate::account::Reference;
use crate::app::Change;
use crate::base::{Id, Number, Slug};
use crate::http::{ApiError, Call, ErrorCode, Fields, Row};
use crate::policy::Code;
use crate::rbac::Outcome;

/// Endpoints for organizations and those who belong to them.
#[must_use]
pub fn rows() -> Vec<Row> {
    let mut rows = trees::rows();
    rows.extend(members::rows());
    rows.extend(invitations::rows());
    rows.extend(roles::rows());
    rows
}

const NAME_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 2000;

/// Who calls.
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

fn enabled(call: &Call) -> Result<(), ApiError> {
    let is_enabled = call.app.config().organizations.is_enabled;
    if is_enabled { Ok(()) } else { Err(ApiError::new(ErrorCode::FeatureDisabled)) }
}

/// The organization that the header names, which the gate has let the caller know of.
async fn there(call: &Call) -> Result<Organization, ApiError> {
    enabled(call)?;
    let Some(text) = call.head.org_slug.as_deref() else {
        return Err(ApiError::new(ErrorCode::OrgContextRequired));
    };
    let unknown = || ApiError::new(ErrorCode::OrgNotFound).with("slug", text);
    let slug = Slug::parse(text).map_err(|_| unknown())?;
    let site = call.person()?.account.site;
    store::by_slug(&call.app.db, site, &slug).await?.ok_or_else(unknown)
}

/// The caller's own role there, which only direct members have.
fn role_there(call: &Call, organization: Id) -> Result<Code, ApiError> {
    let memberships = &call.person()?.memberships;
    let own = memberships.iter().find(|own| own.organization == organization);
    own.map(|own| own.role.clone()).ok_or_else(|| Refused::Outsider.into())
}

/// Whether the caller may do this there: for what changes nothing.
async fn may_there(call: &Call, own: &Organization, permission: &'static str) -> Result<(), ApiError> {
    let code = Code::parse(permission).map_err(ApiError::internal)?;
    let place = directory::read(&call.app.db, own.site, &own.slug).await?.ok_or(Refused::Gone)?;
    let is_inherited = call.app.config().organizations.inherit_roles;
    let inherit = if is_inherited { Inherit::FromAbove } else { Inherit::Nothing };
    let found = context(&call.person()?.memberships, &place, inherit).map_err(|_| Refused::Gone)?;
    let catalogue = call.app.catalogue();
    let may = found.may(&code, &catalogue.definitions().org_roles);
    if may { Ok(()) } else { Err(Refused::Lacks(code).into()) }
}

/// An organization as bodies and queries name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    Id(Id),
    Number(Number),
}

impl Named {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text.parse::<Reference>() {
            Ok(Reference::Id(id)) => Ok(Self::Id(id)),
            Ok(Reference::Number(number)) => Ok(Self::Number(number)),
            _ => Err(NO_ID),
        }
    }

    /// Of a body, where an id is a text or, as in the contract, a number.
    fn from_body(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let value = fields.optional(name).or_null().json()?;
        Self::read(fields, name, value)
    }

    /// The same where it may not be left out.
    fn required(fields: &mut Fields, name: &'static str) -> Option<Self> {
        let value = fields.required(name).json()?;
        Self::read(fields, name, value)
    }

    fn read(fields: &mut Fields, name: &'static str, value: Value) -> Option<Self> {
        let parsed = match value {
            Value::String(text) => Self::parse(&text),
            Value::Number(number) => number.as_i64().map(|id| Self::Number(Number(id))).ok_or(NO_ID),
            _ => Err(NO_ID),
        };
        parsed.map_err(|problem| fields.problem(name, problem)).ok()
    }

    /// The active organization of the caller's site that has this id.
    async fn find(self, call: &Call) -> Result<Option<Organization>, ApiError> {
        let site = call.person()?.account.site;
        let found = match self {
            Self::Id(id) => store::by_id(&call.app.db, id).await?,
            Self::Number(number) => store::by_number(&call.app.db, site, number).await?,
        };
        Ok(found.filter(|own| own.site == site && own.is_active))
    }
}

const NO_ID: &str = "Not the id of an organization.";

fn no_parent() -> ApiError {
    ApiError::new(ErrorCode::OrgNotFound).saying("Parent organization not found")
}

/// One that is gone by now, or that the caller has nothing to do with, was the one above.
fn about_parent(refused: Refused) -> ApiError {
    match refused {
        Refused::Gone => no_parent(),
        other => other.into(),
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Gone => Self::new(ErrorCode::OrgNotFound),
            Refused::BadName => {
                Self::invalid("name", &["A name has 1 to 200 characters, with letters or digits.".to_owned()])
            }
            Refused::SlugTaken(_) => {
                Self::invalid("slug", &["organization with this slug already exists.".to_owned()])
            }
            Refused::TooDeep { max } => {
                Self::new(ErrorCode::OrgTooDeep).saying(format!("Maximum organization depth ({max}) reached"))
            }
            Refused::Circle => Self::new(ErrorCode::CircularHierarchy),
            Refused::HasBelow => Self::new(ErrorCode::OrgHasChildren),
            Refused::UndefinedRole(code) => Self::invalid("role_code", &[format!("Role {code} not found")]),
            Refused::AlreadyMember => Self::new(ErrorCode::AlreadyMember),
            Refused::NotAMember => Self::new(ErrorCode::NotFound).saying("User is not a member"),
            Refused::LastOwner => Self::new(ErrorCode::LastOwner),
            Refused::Full { .. } => Self::new(ErrorCode::MemberLimitReached),
            Refused::FewerThanMembers { max, members } => {
                let text = format!(
                    "Cannot set max_members to {max}: organization already has {members} active members"
                );
                Self::invalid("max_members", &[text])
            }
            Refused::TooMany { .. } => Self::new(ErrorCode::TooManyOrganizations),
            Refused::MadeTooMany { in_a_day, ever } => {
                Self::new(ErrorCode::TooManyOrganizations).saying(format!(
                    "Nobody makes more than {in_a_day} organizations in a day and {ever} ever. Wait a day, or ask those who run this"
                ))
            }
            Refused::Outsider => Self::new(ErrorCode::OrgMembershipRequired),
            Refused::Lacks(code) => {
                Self::new(ErrorCode::OrgPermissionRequired).with("missing", vec![code.to_string()])
            }
            Refused::LacksRole => Self::new(ErrorCode::OrgRoleRequired),
            Refused::Exceeds(code) => Self::new(ErrorCode::PermissionDenied)
                .saying("Nobody gives or takes a role that exceeds what they hold themselves")
                .with("missing", vec![format!("org_role {code}")]),
            Refused::OwnsUnasked => {
                Self::new(ErrorCode::PermissionDenied).saying("An owner is invited, or is a member first")
            }
            Refused::NoInvitation => Self::new(ErrorCode::InvitationNotFound),
            Refused::InvitationOver => Self::new(ErrorCode::InvitationOver),
            // At the earliest: a day is counted from the last mail.
            Refused::InvitedOften => Self::new(ErrorCode::InvitedTooOften).retry_after(invitation::PAUSE),
            Refused::AddressNotProved => Self::new(ErrorCode::EmailNotVerified),
            Refused::Store(cause) => cause.into(),
        }
    }
}
