//! `login.ldap`: the directory whose people log in with its passwords.
//!
//! Law: a password crosses no network unencrypted: `ldap://` is upgraded before anything is said, and
//! goes without only to this machine, if the file says so. What stands for a user name stands where it
//! can be nothing else. The password of the gateway's own account is a `Secret` from here on.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::Files;
use super::insecure::Permitted;
use super::notice::{authorities, is_here, timeout};
use super::place::Place;
use super::problem::Report;
use super::scalar::{As, Span};
use super::social::Link;
use crate::base::Secret;

/// A directory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ldap {
    /// `ldaps://HOST` or `ldap://HOST`, which is upgraded by StartTLS; asked in this order until one answers.
    #[schemars(length(min = 1, max = 8))]
    pub servers: Vec<String>,
    /// What people belong to for ever: those of a directory with another name are others.
    pub name: String,
    /// PEM: whose certificates are believed beside those that the system trusts.
    ca_file: Option<PathBuf>,
    /// Whether `ldap://` goes without TLS; only to this machine.
    pub allow_plain: bool,
    /// Whom the directory is asked to take a password from, with `{username}`; `null`: whom `search` finds.
    #[schemars(length(min = 1, max = 500))]
    pub bind_as: Option<String>,
    pub search: Option<Search>,
    pub attributes: Attributes,
    /// What an e-mail address in the directory is worth.
    pub emails: Emails,
    /// What becomes of somebody whose e-mail address an account has.
    pub link: Link,
    /// Who gets an account at the first login.
    pub newcomers: Newcomers,
    /// How long a login may wait for the directory.
    #[serde(with = "As::<Span>")]
    pub timeout: Duration,
    /// How many connections to it there are at most.
    #[schemars(range(min = 1, max = 1000))]
    pub connections: u32,
    /// PEM.
    #[serde(skip)]
    #[schemars(skip)]
    pub authorities: Option<Vec<u8>>,
}

/// How somebody is found by their user name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LdapSearch")]
pub struct Search {
    /// Below which entry people are; empty: below all.
    #[schemars(length(max = 500))]
    pub base: String,
    /// With `{username}` (RFC 4515).
    #[schemars(length(min = 1, max = 1000))]
    pub filter: String,
    /// Who searches; `null`: nobody in particular.
    #[schemars(length(min = 1, max = 500))]
    pub bind_dn: Option<String>,
    /// `${NAME}` takes it from the environment.
    pub password: Option<Secret<String>>,
    /// A file whose content is the password.
    password_file: Option<PathBuf>,
}

/// Where the directory keeps what is read of people.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LdapAttributes")]
pub struct Attributes {
    /// What never changes and is nobody else's.
    pub id: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
}

/// What an e-mail address in the directory is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LdapEmails")]
pub enum Emails {
    /// It is theirs: nobody can write another one's there.
    Verified,
    /// A wish: its person gets a code.
    Claimed,
}

/// Who gets an account at the first login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Newcomers {
    /// Everybody whom the directory knows, also while registration is closed.
    Welcome,
    /// As registration is open or closed.
    Registration,
    /// Nobody: they connect an account that they have.
    Refused,
}

/// What stands for the user name.
pub const USERNAME: &str = "{username}";
const NAME_MAX: usize = 40;

impl Ldap {
    pub(super) fn check(
        &mut self,
        place: &Place,
        files: &Files<'_>,
        report: &mut Report,
        permitted: &mut Permitted,
    ) {
        timeout(self.timeout, place, report);
        self.check_servers(&place.key("servers"), report);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.bytes().all(is_name) {
            report.problem(&place.key("name"), "1 to 40 letters, digits, `.`, `-` and `_`");
        }
        match (&self.bind_as, &mut self.search) {
            (Some(template), None) => check_template(template, &place.key("bind_as"), report),
            (None, Some(search)) => search.check(&place.key("search"), files, report, permitted),
            (Some(_), Some(_)) => {
                report
                    .problem(&place.key("bind_as"), "`search` finds people already")
                    .hint("keep one of the two");
            }
            (None, None) => {
                report
                    .problem(place, "nothing says who a user name is")
                    .hint("write `bind_as: \"uid={username},ou=people,dc=example,dc=com\"`, or `search`");
            }
        }
        self.attributes.check(&place.key("attributes"), report);
        if self.link == Link::Verified && self.emails == Emails::Claimed {
            report.problem(&place.key("link"), "an address that is only claimed finds no account").hint(
                "write `emails: verified` if nobody can write another one's address into the directory",
            );
        }
        self.authorities = authorities(self.ca_file.as_ref(), place, files, report);
    }

    fn check_servers(&self, place: &Place, report: &mut Report) {
        let mut is_plain_used = false;
        for (at, text) in self.servers.iter().enumerate() {
            let place = place.item(at);
            match Server::parse(text) {
                None => {
                    report
                        .problem(&place, "not the address of a directory")
                        .hint("write `ldaps://ldap.example.com` or `ldap://ldap.example.com`, and a port if it has its own");
                }
                Some(server) if !server.is_tls && self.allow_plain => {
                    is_plain_used = true;
                    if !is_here(&server.host) {
                        report
                            .problem(&place, "passwords would cross the network for everyone to read")
                            .hint(
                                "write `ldaps://…`, or leave `allow_plain` out: then StartTLS is asked for",
                            );
                    }
                }
                Some(_) => {}
            }
        }
        if self.allow_plain && !is_plain_used {
            report.warning(place, "nothing needs `allow_plain`").hint("remove it");
        }
    }
}

impl Search {
    fn check(&mut self, place: &Place, files: &Files<'_>, report: &mut Report, permitted: &mut Permitted) {
        let filter = self.filter.replace(USERNAME, "ada");
        if !self.filter.contains(USERNAME) || ldap3::parse_filter(&filter).is_err() {
            report
                .problem(&place.key("filter"), "not a filter with `{username}`")
                .hint("write `\"(uid={username})\"`");
        }
        if let Some(path) = &self.password_file {
            let place = place.key("password_file");
            if self.password.is_some() {
                report.problem(&place, "there is a `password` already");
            }
            self.password = files.password(path, &place, report, permitted);
        }
        let has_password = self.password.as_ref().is_some_and(|password| !password.expose().is_empty());
        match (&self.bind_dn, has_password) {
            // A bind with a name and without a password is one by nobody, which says yes.
            (Some(_), false) if self.password_file.is_none() => {
                report
                    .problem(&place.key("bind_dn"), "without a password it is nobody")
                    .hint("write `password_file: PATH`, or `password: ${NAME}`");
            }
            (None, true) => {
                report.problem(place, "a password without `bind_dn` is nobody's");
            }
            _ => {}
        }
    }
}

impl Attributes {
    fn check(&self, place: &Place, report: &mut Report) {
        let all = [
            ("id", &self.id),
            ("email", &self.email),
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
        ];
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        for (key, name) in all {
            if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
                report.problem(&place.key(key), "not the name of an attribute");
            }
        }
    }
}

/// A user name is the whole value of an attribute: nothing that is escaped becomes more than that.
fn check_template(template: &str, place: &Place, report: &mut Report) {
    let is_whole = template.split_once(USERNAME).is_some_and(|(before, after)| {
        let is_value = before.ends_with('=') && before.len() > 1;
        is_value && (after.is_empty() || after.starts_with([',', '+'])) && !after.contains(USERNAME)
    });
    if !is_whole {
        report
            .problem(place, "not the name of an entry with `{username}` as one whole value")
            .hint("write `\"uid={username},ou=people,dc=example,dc=com\"`");
    }
}

/// Where a directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// From the first byte on.
    pub is_tls: bool,
    /// Without the brackets of an address of IPv6.
    pub host: String,
    pub port: u16,
}

impl Server {
    /// Reads the address of a directory; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (is_tls, rest) = match text.split_once("://")? {
            ("ldaps", rest) => (true, rest),
            ("ldap", rest) => (false, rest),
            _ => return None,
        };
        let authority: http::uri::Authority = rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => {
                if is_tls {
                    636
                } else {
                    389
                }
            }
            given => given.strip_prefix(':')?.parse().ok().filter(|port| *port > 0)?,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        rustls_pki_types::ServerName::try_from(host.as_str()).ok()?;
        Some(Self { is_tls, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_host_and_perhaps_a_port() {
        let read = |text: &str| Server::parse(text).map(|one| (one.is_tls, one.host, one.port));
        assert_eq!(read("ldaps://ldap.example.com"), Some((true, "ldap.example.com".to_owned(), 636)));
        assert_eq!(read("ldap://10.0.0.1:1389/"), Some((false, "10.0.0.1".to_owned(), 1389)));
        assert_eq!(read("ldaps://[::1]:7"), Some((true, "::1".to_owned(), 7)));
        for text in [
            "ldap.example.com",
            "ldapi:///var/run/slapd",
            "https://ldap.example.com",
            "ldap://",
            "ldap://host:",
            "ldap://host:0",
            "ldap://host:70000",
            "ldap://user@host",
            "ldap://host/dc=example",
            "ldap://host?x",
            "ldap://a b",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
