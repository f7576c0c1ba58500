//! The words in which codes are sent.
//!
//! Law: no code stands in a subject, where a locked screen shows it; every message says what the code is
//! for, because a person who is asked for it by somebody else must be able to see that.

use super::{Digits, Purpose};
use crate::base::{Secret, Timestamp};
use crate::notify::clock;

/// What a mail with a code says.
pub(super) struct Letter<'a> {
    pub purpose: Purpose,
    pub host: &'a str,
    pub digits: &'a Digits,
    pub link: Option<&'a Secret<String>>,
    pub until: Timestamp,
}

impl Letter<'_> {
    /// Subject and text.
    pub(super) fn write(&self) -> (String, String) {
        let Self { purpose, host, digits, link, until } = self;
        let what = match purpose {
            Purpose::Contact => "It confirms that this address is yours.",
            Purpose::Login | Purpose::Link => "It logs you in.",
            Purpose::Reset => "It lets you set a new password in the place of the one that you forgot.",
        };
        let link = link
            .map_or(String::new(), |link| format!("This link does the same:\n\n    {}\n\n", link.expose()));
        (
            format!("Your code for {host}"),
            format!(
                "Your code for {host} is\n\n    {}\n\n{what} It counts once, until {} UTC. Nobody will ask you for it: type \
                 it yourself, and only there.\n\n{link}If you did not ask for it, you need not do anything.\n",
                digits.expose(),
                clock(*until)
            ),
        )
    }
}

/// Subject and text of a mail with a link that logs in, and no code.
pub(super) fn invitation(host: &str, link: &Secret<String>, until: Timestamp) -> (String, String) {
    (
        format!("Your link for {host}"),
        format!(
            "This link logs you in at {host}:\n\n    {}\n\nIt counts once, until {} UTC. Give it to nobody: whoever opens it is \
             logged in as you.\n\nIf you did not ask for it, you need not do anything.\n",
            link.expose(),
            clock(until)
        ),
    )
}

/// A text message. The last line lets phones fill the code in on this host and on no other
/// (WICG "Origin-bound one-time codes delivered via SMS").
pub(super) fn message(host: &str, digits: &Digits) -> String {
    let code = digits.expose();
    format!(
        "{code} is your code for {host}. Type it yourself; nobody will ask you for it.\n\n@{host} #{code}"
    )
}

/// Subject and text for the address that was somebody's until now.
pub(super) fn moved(host: &str, new: &str) -> (String, String) {
    (
        format!("Your e-mail address at {host} was changed"),
        format!(
            "Your account at {host} has another e-mail address now: {new}.\n\nIf it was not you who changed it, tell those who \
             run {host} at once.\n"
        ),
    )
}

/// A text message to the number that was somebody's until now.
pub(super) fn renumbered(host: &str, new: &str) -> String {
    format!(
        "Your account at {host} has another phone number now: {new}. If it was not you, tell those who run {host}."
    )
}

/// The address or number without most of it.
pub(super) fn masked(target: &crate::account::Target) -> String {
    use crate::account::Target;
    match target {
        Target::Email(email) => {
            let (local, domain) = email.as_str().split_once('@').unwrap_or((email.as_str(), ""));
            format!("{}***@{domain}", local.chars().next().unwrap_or('*'))
        }
        Target::Phone(phone) => {
            let text = phone.as_str();
            format!("***{}", text.get(text.len().saturating_sub(4)..).unwrap_or_default())
        }
    }
}
