//! The `allow` tree: who may use a route, as the configuration says it.
//!
//! Law: a condition is yes, no or unknown; unknown never allows, and `not` of unknown is unknown.
//! This is the tree as written; `judge` holds the tree as decided.

use std::fmt;
use std::time::Duration;

use super::Code;

/// Who may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everyone, without a credential too.
    Anyone,
    When(Condition),
}

/// Something that is so, is not so, or cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    SignedIn,
    /// The caller holds it globally, directly, through a role or group, or through a parent.
    Permission(Code),
    Role(Code),
    Group(Code),
    /// A direct member of the organization that the request names.
    OrgMember,
    /// There or in an organization above it.
    OrgRole(Code),
    OrgPermission(Code),
    /// Role `owner` there, never looked up the tree.
    OrgOwner,
    /// Role `owner` there, or `admin` there or above.
    OrgAdmin,
    OrgPlan(String),
    OrgStatus(String),
    VerifiedEmail,
    VerifiedPhone,
    Mfa,
    /// Authenticated with a credential no longer ago than this.
    MaxAge(Duration),
    Staff,
    Superuser,
    /// The path parameter of this name, decoded, is the caller's id.
    Owner(String),
    Application(Named),
    Scope(String),
}

/// Any application, or the one with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Any,
    Name(String),
}

impl Condition {
    /// What refusals call a failed condition: the key that the configuration uses.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::All(_) => "all",
            Self::Any(_) => "any",
            Self::Not(_) => "not",
            Self::SignedIn => "signed_in",
            Self::Permission(_) => "permission",
            Self::Role(_) => "role",
            Self::Group(_) => "group",
            Self::OrgMember => "org.member",
            Self::OrgRole(_) => "org.role",
            Self::OrgPermission(_) => "org.permission",
            Self::OrgOwner => "org.owner",
            Self::OrgAdmin => "org.admin",
            Self::OrgPlan(_) => "org.plan",
            Self::OrgStatus(_) => "org.status",
            Self::VerifiedEmail => "verified.email",
            Self::VerifiedPhone => "verified.phone",
            Self::Mfa => "mfa",
            Self::MaxAge(_) => "max_age",
            Self::Staff => "staff",
            Self::Superuser => "superuser",
            Self::Owner(_) => "owner",
            Self::Application(_) => "application",
            Self::Scope(_) => "scope",
        }
    }

    /// The conditions inside.
    #[must_use]
    pub fn children(&self) -> &[Self] {
        match self {
            Self::All(list) | Self::Any(list) => list,
            Self::Not(inner) => std::slice::from_ref(inner),
            _ => &[],
        }
    }

    /// Calls `visit` for this condition and all inside it.
    pub fn visit<'a>(&'a self, visit: &mut dyn FnMut(&'a Self)) {
        visit(self);
        for child in self.children() {
            child.visit(visit);
        }
    }
}

impl fmt::Display for Condition {
    /// One condition as a reader of `explain` wants it: `permission reports.read`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Permission(code)
            | Self::Role(code)
            | Self::Group(code)
            | Self::OrgRole(code)
            | Self::OrgPermission(code) => write!(f, " {code}"),
            Self::OrgPlan(text) | Self::OrgStatus(text) | Self::Owner(text) | Self::Scope(text) => {
                write!(f, " {text}")
            }
            Self::MaxAge(span) => write!(f, " {}s", span.as_secs()),
            Self::Application(Named::Any) => f.write_str(" any"),
            Self::Application(Named::Name(name)) => write!(f, " {name}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Allow {
    /// The whole tree on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn line(condition: &Condition, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let join = match condition {
                Condition::All(_) => " and ",
                Condition::Any(_) => " or ",
                Condition::Not(inner) => {
                    f.write_str("not ")?;
                    return line(inner, f);
                }
                leaf => return fmt::Display::fmt(leaf, f),
            };
            f.write_str("(")?;
            for (at, child) in condition.children().iter().enumerate() {
                if at > 0 {
                    f.write_str(join)?;
                }
                line(child, f)?;
            }
            f.write_str(")")
        }
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::When(condition) => line(condition, f),
        }
    }
}
