//! The profile's words for roles, permissions, events and what has become of an account.
//!
//! Law: a word stands for what the gateway knows and adds nothing to it. `superadmin` is the role that holds
//! everything, `admin1` to `admin3` are roles of these codes that somebody has defined, `user` is everybody else.
//! Permissions are `resource:action`; three of them stand for those that do the same here.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::account::{Account, Usable};
use crate::audit::CODES;
use crate::base::Timestamp;
use crate::policy::{Assignments, Catalogue, Code, seed};

/// Whoever has no other role.
pub(super) const USER: &str = "user";
const SUPERADMIN: &str = "superadmin";
const ADMINS: [&str; 3] = ["admin1", "admin2", "admin3"];

/// The profile's permissions that are not only spelled differently, each with what it brings.
const ALIASES: [(&str, &[&str]); 3] = [
    ("users:read", &["users.view"]),
    ("users:write", &["users.create", "users.update", "users.lock"]),
    ("users:delete", &["users.delete"]),
];

/// Every role that has a word here, the highest first, by its word and its code.
pub(super) fn ladder() -> Vec<(&'static str, Code)> {
    let all = [(SUPERADMIN, seed::SUPER_ADMIN)].into_iter().chain(ADMINS.map(|name| (name, name)));
    all.filter_map(|(word, code)| Some((word, Code::parse(code).ok()?))).collect()
}

/// The codes of all of them.
pub(super) fn ladder_codes() -> Vec<Code> {
    ladder().into_iter().map(|(_, code)| code).collect()
}

/// A role as a client names one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Admin(Code),
}

impl Role {
    /// Reads one of the five words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == USER {
            return Ok(Self::User);
        }
        let found = ladder().into_iter().find(|(word, _)| *word == text);
        let unknown = || format!("One of {SUPERADMIN}, {}, {USER}.", ADMINS.join(", "));
        found.map(|(_, code)| Self::Admin(code)).ok_or_else(unknown)
    }

    /// Whether it is the one that superusers have.
    pub(super) fn is_highest(&self) -> bool {
        matches!(self, Self::Admin(code) if code.as_str() == seed::SUPER_ADMIN)
    }

    /// The role that an account is to have, if it is one.
    pub(super) fn code(self) -> Option<Code> {
        match self {
            Self::User => None,
            Self::Admin(code) => Some(code),
        }
    }
}

/// The word for the highest of these roles.
pub(super) fn role_of(own: &Account, roles: &[Code]) -> &'static str {
    if own.is_superuser {
        return SUPERADMIN;
    }
    let held = ladder().into_iter().find(|(_, code)| roles.contains(code));
    held.map_or(USER, |(word, _)| word)
}

/// What has become of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Inactive,
    Locked,
    /// Nobody has come in yet, and there is no password to come in with.
    Pending,
}

impl Status {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "active" => Ok(Self::Active),
            "inactive" => Ok(Self::Inactive),
            "locked" => Ok(Self::Locked),
            "pending" => Ok(Self::Pending),
            _ => Err("One of active, inactive, locked, pending."),
        }
    }

    pub(super) fn of(own: &Account, now: Timestamp) -> Self {
        match Usable::of(own, now) {
            Usable::Yes => Self::Active,
            Usable::No => Self::Inactive,
            Usable::Locked => Self::Locked,
            Usable::Awaited => Self::Pending,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Locked => "locked",
            Self::Pending => "pending",
        }
    }

    pub(super) const fn usable(self) -> Usable {
        match self {
            Self::Active => Usable::Yes,
            Self::Inactive => Usable::No,
            Self::Locked => Usable::Locked,
            Self::Pending => Usable::Awaited,
        }
    }
}

/// What is said of an account here is said of a user there.
const OF_ACCOUNTS: &str = "account_";
const OF_USERS: &str = "user_";

/// The word for an event.
pub(super) fn word_of(code: &str) -> Cow<'_, str> {
    code.strip_prefix(OF_ACCOUNTS).map_or(Cow::Borrowed(code), |rest| format!("{OF_USERS}{rest}").into())
}

/// The event that a word, or its own code, stands for.
pub(super) fn code_of(word: &str) -> Option<&'static str> {
    CODES.into_iter().find(|code| *code == word || word_of(code) == word)
}

/// Permissions as clients read them, sorted.
pub(super) fn permissions(codes: &[Code]) -> Vec<String> {
    let holds = |code: &&str| codes.iter().any(|own| own.as_str() == *code);
    let whole: Vec<&(&str, &[&str])> = ALIASES.iter().filter(|(_, all)| all.iter().all(&holds)).collect();
    let is_told = |code: &Code| whole.iter().any(|(_, all)| all.contains(&code.as_str()));
    let spelled = codes.iter().filter(|code| !is_told(code)).map(|code| spelled(code.as_str()));
    let mut all: Vec<String> = whole.iter().map(|(word, _)| (*word).to_owned()).chain(spelled).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// With a colon before the action.
fn spelled(code: &str) -> String {
    match code.rsplit_once('.') {
        Some((resource, action)) if !code.contains(':') => format!("{resource}:{action}"),
        _ => code.to_owned(),
    }
}

/// The permissions that a client's word stands for: those of an alias, the one of that very code, or the one that
/// is spelled so.
pub(super) fn permission(catalogue: &Catalogue, word: &str) -> Option<Vec<Code>> {
    let defined = |text: &str| Code::parse(text).ok().filter(|code| catalogue.permission(code).is_some());
    if let Some(code) = defined(word) {
        return Some(vec![code]);
    }
    if let Some((_, all)) = ALIASES.iter().find(|(alias, _)| *alias == word) {
        return all.iter().map(|code| defined(code)).collect();
    }
    defined(&word.replacen(':', ".", 1)).map(|code| vec![code])
}

/// What somebody holds who was given this.
pub(super) fn held(catalogue: &Catalogue, own: &Account, mut given: Assignments) -> Vec<String> {
    given.is_superuser = own.is_superuser;
    permissions(&catalogue.rights(&given).codes())
}

/// More permissions than these stand in no token: headers have an end.
const IN_A_TOKEN: usize = 128;

/// What access tokens tell of their person.
pub(super) fn claims(own: &Account, roles: &[Code], codes: &[Code]) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("email".to_owned(), json!(own.email.as_ref().map(ToString::to_string)));
    claims.insert("role".to_owned(), json!(role_of(own, roles)));
    let held = permissions(codes);
    if held.len() <= IN_A_TOKEN {
        claims.insert("permissions".to_owned(), json!(held));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::seed::definitions;

    fn codes(texts: &[&str]) -> Vec<Code> {
        texts.iter().map(|text| Code::parse(text).unwrap()).collect()
    }

    #[test]
    fn every_permission_is_found_again_by_its_word() {
        let catalogue = Catalogue::build(definitions(), 0);
        for code in definitions().permissions.into_keys() {
            let told = permissions(std::slice::from_ref(&code));
            assert_eq!(permission(&catalogue, &told[0]), Some(vec![code.clone()]), "{told:?} {code}");
        }
        assert_eq!(
            permission(&catalogue, "users:write"),
            Some(codes(&["users.create", "users.update", "users.lock"]))
        );
        for word in ["nothing:read", "users:", "", "users:write:more", "USERS:READ"] {
            assert_eq!(permission(&catalogue, word), None, "{word}");
        }
    }

    #[test]
    fn an_alias_is_told_where_all_of_it_is_held() {
        let told = permissions(&codes(&["users.create", "users.update", "users.view", "reports:read"]));
        assert_eq!(told, ["reports:read", "users:create", "users:read", "users:update"]);
        let told = permissions(&codes(&["users.create", "users.update", "users.lock", "users.delete"]));
        assert_eq!(told, ["users:delete", "users:write"]);
    }

    #[test]
    fn no_two_events_have_one_word_and_each_is_found_by_it() {
        for code in CODES {
            assert_eq!(code_of(&word_of(code)), Some(code), "{code}");
            assert_eq!(code_of(code), Some(code), "{code}");
        }
        assert_eq!(
            (&*word_of("account_created"), code_of("user_created")),
            ("user_created", Some("account_created"))
        );
        for word in ["user_", "account_", "users_created", "USER_CREATED", ""] {
            assert_eq!(code_of(word), None, "{word}");
        }
    }

    #[test]
    fn every_status_is_read_as_it_is_told() {
        for status in [Status::Active, Status::Inactive, Status::Locked, Status::Pending] {
            assert_eq!(Status::parse(status.word()), Ok(status));
        }
        assert!(Status::parse("banned").is_err());
    }

    #[test]
    fn there_are_five_roles() {
        assert_eq!(Role::parse("user"), Ok(Role::User));
        assert_eq!(Role::parse("superadmin").unwrap().code(), Code::parse("super_admin").ok());
        assert_eq!(Role::parse("admin2").unwrap().code(), Code::parse("admin2").ok());
        for word in ["super_admin", "admin4", "admin", "", "User"] {
            assert!(Role::parse(word).is_err(), "{word}");
        }
    }
}
