//! What is done to people on pages, each by the endpoint that does it.
//!
//! Law: what ends logins or an account for good is asked about once more.

use super::ask::Endpoint;
use super::deed::{Deed, Sends, Then, Whose};
use super::field::{Field, Kind};
use super::user::{NAMES, ONE};
use super::{USERS, value};
use crate::web::exact::text as shown;
use maud::html;

pub(super) static DEEDS: &[&Deed] = &[
    &MAKE,
    &EDIT,
    &LOCK,
    &UNLOCK,
    &BAN,
    &UNBAN,
    &ACTIVATE,
    &DEACTIVATE,
    &MUST_CHANGE,
    &DELETE,
    &GIVE_ROLE,
    &TAKE_ROLE,
    &JOIN,
    &LEAVE,
    &PERMIT,
    &REFUSE,
    &END,
];

const PAGE: &str = "/portcullis/admin/users/{id}/";
const REASON: Field = Field::new("reason", "Why? It stands in the audit trail.", Kind::Text);

/// A deed to somebody whom the path names, which comes back to their page.
const fn to_somebody(at: &'static str, asks: Endpoint, does: &'static str, said: &'static str) -> Deed {
    Deed::to((ONE, NAMES), at, asks, does, Then::Lead(PAGE, said))
}

pub(super) static MAKE: Deed = Deed {
    at: "/portcullis/admin/make/user/",
    asks: Endpoint::post("/admin/users/"),
    whose: Whose::Nobody,
    sends: Sends::Body,
    fields: &[
        Field::new("email", "E-mail address", Kind::Text),
        Field::new("phone", "Phone number, with its country code", Kind::Text),
        Field::new("username", "User name", Kind::Text),
        Field::new("first_name", "First name", Kind::Text),
        Field::new("last_name", "Last name", Kind::Text),
        Field::new("password", "Password, if they are to begin with one", Kind::Password),
    ],
    does: "Make an account",
    sure: None,
    subject: None,
    then: Then::Show(|made| {
        let content = html! {
            h1 { "The account was made" }
            p { a href=(format!("{USERS}{}/", value::escaped(value::text(made, "id")))) { (shown(value::called(made, NAMES))) } }
        };
        ("The account was made", content)
    }),
};

pub(super) static EDIT: Deed = Deed {
    fields: &[
        Field::new("first_name", "First name", Kind::Blank),
        Field::new("last_name", "Last name", Kind::Blank),
    ],
    ..to_somebody(
        "/portcullis/admin/users/{id}/names/",
        Endpoint::patch("/admin/users/{id}/"),
        "Change the names",
        "changed",
    )
};

pub(super) static ACTIVATE: Deed = Deed {
    fields: &[Field::new("is_active", "", Kind::Is(true))],
    ..to_somebody(
        "/portcullis/admin/users/{id}/activate/",
        Endpoint::patch("/admin/users/{id}/"),
        "Let them log in again",
        "changed",
    )
};

pub(super) static DEACTIVATE: Deed = Deed {
    fields: &[Field::new("is_active", "", Kind::Is(false))],
    sure: Some("They are logged out everywhere at once, and log in no more until somebody lets them."),
    ..to_somebody(
        "/portcullis/admin/users/{id}/deactivate/",
        Endpoint::patch("/admin/users/{id}/"),
        "Let them log in no more",
        "changed",
    )
};

pub(super) static MUST_CHANGE: Deed = Deed {
    fields: &[Field::new("must_change_password", "", Kind::Is(true))],
    ..to_somebody(
        "/portcullis/admin/users/{id}/must-change/",
        Endpoint::patch("/admin/users/{id}/"),
        "Have them choose another password",
        "changed",
    )
};

pub(super) static LOCK: Deed = Deed {
    fields: &[Field::new("duration_minutes", "For how many minutes? 30 if left empty.", Kind::Whole), REASON],
    ..to_somebody(
        "/portcullis/admin/users/{id}/lock/",
        Endpoint::post("/admin/users/{id}/lock/"),
        "Lock the account for a while",
        "locked",
    )
};

pub(super) static UNLOCK: Deed = Deed {
    sends: Sends::Nothing,
    ..to_somebody(
        "/portcullis/admin/users/{id}/unlock/",
        Endpoint::post("/admin/users/{id}/unlock/"),
        "Unlock the account",
        "unlocked",
    )
};

pub(super) static BAN: Deed = Deed {
    fields: &[REASON],
    sure: Some("They are logged out everywhere at once, and stay out until somebody lifts the ban."),
    ..to_somebody(
        "/portcullis/admin/users/{id}/ban/",
        Endpoint::post("/admin/users/{id}/ban/"),
        "Ban this person",
        "banned",
    )
};

pub(super) static UNBAN: Deed = Deed {
    sends: Sends::Nothing,
    ..to_somebody(
        "/portcullis/admin/users/{id}/unban/",
        Endpoint::post("/admin/users/{id}/unban/"),
        "Lift the ban",
        "unbanned",
    )
};

pub(super) static DELETE: Deed = Deed {
    sends: Sends::Nothing,
    sure: Some(
        "The account goes at once and for good, with everything that is kept of this person. Nobody can bring it back.",
    ),
    then: Then::Lead(USERS, "removed"),
    ..to_somebody(
        "/portcullis/admin/users/{id}/delete/",
        Endpoint::del("/admin/users/{id}/"),
        "Delete this person",
        "removed",
    )
};

pub(super) static GIVE_ROLE: Deed = Deed {
    fields: &[Field::new("role_code", "Role", Kind::Offered)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/roles/give/",
        Endpoint::post("/users/{id}/roles/"),
        "Give a role",
        "given",
    )
};

pub(super) static TAKE_ROLE: Deed = Deed {
    sends: Sends::Query,
    fields: &[Field::new("role_code", "Role", Kind::Offered)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/roles/take/",
        Endpoint::del("/users/{id}/roles/"),
        "Take the role away",
        "taken",
    )
};

pub(super) static JOIN: Deed = Deed {
    fields: &[Field::new("group_code", "Group, by its code", Kind::Offered)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/groups/join/",
        Endpoint::post("/users/{id}/groups/"),
        "Put into a group",
        "given",
    )
};

pub(super) static LEAVE: Deed = Deed {
    sends: Sends::Query,
    fields: &[Field::new("group_code", "Group, by its code", Kind::Offered)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/groups/leave/",
        Endpoint::del("/users/{id}/groups/"),
        "Take out of the group",
        "taken",
    )
};

pub(super) static PERMIT: Deed = Deed {
    fields: &[Field::new("permission_codes", "Permission, by its code", Kind::OfferedAlone)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/permissions/give/",
        Endpoint::post("/users/{id}/permissions/"),
        "Give a permission",
        "given",
    )
};

pub(super) static REFUSE: Deed = Deed {
    fields: &[Field::new("permission_codes", "Permission, by its code", Kind::OfferedAlone)],
    ..to_somebody(
        "/portcullis/admin/users/{id}/permissions/take/",
        Endpoint::del("/users/{id}/permissions/"),
        "Take the permission away",
        "taken",
    )
};

pub(super) static END: Deed = Deed {
    whose: Whose::Field("session"),
    sends: Sends::Nothing,
    subject: None,
    ..to_somebody(
        "/portcullis/admin/users/{id}/sessions/end/",
        Endpoint::post("/admin/refresh-tokens/{id}/revoke/"),
        "End this login",
        "ended",
    )
};
