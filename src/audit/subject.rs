//! Subjects: whose rights a change touched, so that caches that knew them forget.
//!
//! Law: a subject has one text, which is what other processes read in `changes`.

use std::fmt;

use crate::base::Id;

/// Something whose epoch can rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    Account(Id),
    /// A session that has ended: what runs in its name is stopped.
    Session(Id),
    /// What a human delegated to a program.
    AgentToken(Id),
    /// What a person gave to a program that calls as them.
    ApiKey(Id),
    /// Something that waited for people and does not any more, or that was done.
    Approval(Id),
    Application(Id),
    /// The list of applications: any of them.
    Applications,
    Organization(Id),
    /// The definitions of permissions, roles, groups and org roles.
    Catalogue,
    /// The signing keys.
    Keys,
}

impl Subject {
    /// The inverse of `Display`. `None` for a word of a newer version.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("account", id)) => id.parse().ok().map(Self::Account),
            Some(("session", id)) => id.parse().ok().map(Self::Session),
            Some(("agent_token", id)) => id.parse().ok().map(Self::AgentToken),
            Some(("api_key", id)) => id.parse().ok().map(Self::ApiKey),
            Some(("approval", id)) => id.parse().ok().map(Self::Approval),
            Some(("application", id)) => id.parse().ok().map(Self::Application),
            Some(("organization", id)) => id.parse().ok().map(Self::Organization),
            None if text == "applications" => Some(Self::Applications),
            None if text == "catalogue" => Some(Self::Catalogue),
            None if text == "keys" => Some(Self::Keys),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(id) => write!(f, "account:{id}"),
            Self::Session(id) => write!(f, "session:{id}"),
            Self::AgentToken(id) => write!(f, "agent_token:{id}"),
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::Approval(id) => write!(f, "approval:{id}"),
            Self::Application(id) => write!(f, "application:{id}"),
            Self::Organization(id) => write!(f, "organization:{id}"),
            Self::Applications => f.write_str("applications"),
            Self::Catalogue => f.write_str("catalogue"),
            Self::Keys => f.write_str("keys"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back_from_its_text() {
        let id = Id::from_u128(0x0190_b8a2_7c1e_7f00_8000_0000_0000_000a);
        for subject in [
            Subject::Account(id),
            Subject::Session(id),
            Subject::AgentToken(id),
            Subject::ApiKey(id),
            Subject::Approval(id),
            Subject::Application(id),
            Subject::Organization(id),
            Subject::Applications,
            Subject::Catalogue,
            Subject::Keys,
        ] {
            assert_eq!(Subject::parse(&subject.to_string()), Some(subject));
            assert!(subject.to_string().len() <= 60, "fits its column");
        }
        assert_eq!(Subject::parse("planet:mars"), None);
    }
}
