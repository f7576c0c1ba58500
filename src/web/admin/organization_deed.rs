//! What is done to organizations and those who belong to them, each by the endpoint that does it.
//!
//! Law: the path names the organization, and the endpoint is asked to act there and nowhere else. What takes
//! rights from many, or cannot be undone, is asked about once more.

use maud::html;

use super::ask::Endpoint;
use super::deed::{Deed, Sends, Then, Whose};
use super::field::{Field, Kind};
use super::organization::{NAMES, ONE};
use super::{ORGANIZATIONS, value};

pub(super) static DEEDS: &[&Deed] =
    &[&MAKE, &EDIT, &MOVE, &DELETE, &ADD, &REGARD, &REMOVE, &INVITE, &RESEND, &REVOKE];

const fn there(at: &'static str, asks: Endpoint, does: &'static str, said: &'static str) -> Deed {
    let page = Then::Lead("/portcullis/admin/organizations/{id}/", said);
    Deed { whose: Whose::Organization, ..Deed::to((ONE, NAMES), at, asks, does, page) }
}

pub(super) static MAKE: Deed = Deed {
    whose: Whose::Nobody,
    subject: None,
    fields: &[
        Field::new("name", "Name", Kind::Text),
        Field::new("slug", "What names it in addresses; made from the name if left empty", Kind::Text),
        Field::new("description", "Description", Kind::Blank),
        Field::new("parent_id", "Number of the one that it belongs under, if any", Kind::Text),
    ],
    then: Then::Lead(ORGANIZATIONS, "made"),
    ..there(
        "/portcullis/admin/make/organization/",
        Endpoint::post("/organizations/"),
        "Make an organization",
        "made",
    )
};

pub(super) static EDIT: Deed = Deed {
    fields: &[
        Field::new("name", "Name", Kind::Text),
        Field::new("description", "Description", Kind::Area),
        Field::new("max_members", "How many may belong to it? 0 for any number.", Kind::Whole),
    ],
    ..there(
        "/portcullis/admin/organizations/{id}/change/",
        Endpoint::patch("/organizations/update/"),
        "Change the organization",
        "changed",
    )
};

pub(super) static MOVE: Deed = Deed {
    fields: &[Field::new(
        "parent_id",
        "Number of the one that it belongs under from now on; empty for none",
        Kind::OrNull,
    )],
    sure: Some(
        "It goes there with all that stands below it. Who has rights above it now may lose them, and others get them.",
    ),
    ..there(
        "/portcullis/admin/organizations/{id}/move/",
        Endpoint::post("/organizations/move/"),
        "Put it under another one",
        "changed",
    )
};

pub(super) static DELETE: Deed = Deed {
    sends: Sends::Nothing,
    sure: Some(
        "The organization is switched off, its invitations are void, and everything that was delegated for it ends.",
    ),
    then: Then::Lead(ORGANIZATIONS, "removed"),
    ..there(
        "/portcullis/admin/organizations/{id}/delete/",
        Endpoint::del("/organizations/delete/"),
        "Delete the organization",
        "removed",
    )
};

pub(super) static ADD: Deed = Deed {
    fields: &[
        Field::new("user_id", "Number of the person", Kind::Text),
        Field::new("role_code", "As what?", Kind::Offered),
    ],
    ..there(
        "/portcullis/admin/organizations/{id}/members/add/",
        Endpoint::post("/organizations/members/add/"),
        "Add somebody of the same line",
        "made",
    )
};

pub(super) static REGARD: Deed = Deed {
    whose: Whose::Within("member"),
    fields: &[Field::new("role_code", "As what?", Kind::Offered)],
    ..there(
        "/portcullis/admin/organizations/{id}/members/role/",
        Endpoint::patch("/organizations/members/{id}/"),
        "Give another role",
        "changed",
    )
};

pub(super) static REMOVE: Deed = Deed {
    whose: Whose::Within("member"),
    sends: Sends::Nothing,
    sure: Some(
        "The membership ends at once, with the rights that it brings there. Only an invitation brings it back.",
    ),
    ..there(
        "/portcullis/admin/organizations/{id}/members/remove/",
        Endpoint::del("/organizations/members/{id}/remove/"),
        "End the membership",
        "removed",
    )
};

pub(super) static INVITE: Deed = Deed {
    fields: &[
        Field::new("email", "E-mail address", Kind::Text),
        Field::new("role_code", "As what?", Kind::Offered),
    ],
    then: Then::Show(|made| {
        let content = html! {
            p.back { a href=(ORGANIZATIONS) { "← Organizations" } }
            h1 { "The invitation was made" }
            section {
                p { (value::of(made, "email")) " is invited to " strong { (value::of(made, "organization_name")) } " as " (value::of(made, "role_name")) ", until " (value::at(made, "expires_at")) "." }
                p { "It goes out by mail, where the gateway sends any. Who has this token and that address may accept it; it is not shown again:" }
                p.exact { (value::of(made, "token")) }
            }
        };
        ("The invitation was made", content)
    }),
    ..there(
        "/portcullis/admin/organizations/{id}/invitations/new/",
        Endpoint::post("/organizations/invitations/"),
        "Invite somebody",
        "sent",
    )
};

pub(super) static RESEND: Deed = Deed {
    whose: Whose::Within("invitation"),
    sends: Sends::Nothing,
    ..there(
        "/portcullis/admin/organizations/{id}/invitations/resend/",
        Endpoint::post("/organizations/invitations/{id}/resend/"),
        "Send it again",
        "sent",
    )
};

pub(super) static REVOKE: Deed = Deed {
    whose: Whose::Within("invitation"),
    sends: Sends::Nothing,
    sure: Some("The invitation opens nothing any more. Another one can be sent."),
    ..there(
        "/portcullis/admin/organizations/{id}/invitations/revoke/",
        Endpoint::del("/organizations/invitations/{id}/"),
        "Take it back",
        "removed",
    )
};
