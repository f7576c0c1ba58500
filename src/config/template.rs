//! `templates`: what mail and text messages say, in the words of whoever runs the gateway.
//!
//! Law: a template that could not do what its notice is for is refused at start: a word in braces that means
//! nothing there, a code or link that its reader would never see, one in a subject, where a locked screen
//! shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::notice::Notice;
use super::place::Place;
use super::problem::Report;

const SUBJECT_MAX: usize = 200;
const MAIL_MAX: usize = 10_000;
const MESSAGE_MAX: usize = 500;

/// What is said in place of the gateway's own words; `null`: those.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Of a mail, in one line.
    #[schemars(length(max = 200))]
    pub subject: Option<String>,
    /// Lines of plain text.
    #[schemars(length(max = 10_000))]
    pub mail: Option<String>,
    /// A text message, where the notice is ever told by one.
    #[schemars(length(max = 500))]
    pub message: Option<String>,
}

/// The notices that have words, and what stands in braces beside `{host}`, `{subject}` and `{text}`.
const CODE: &str = "account.code";
/// What codes are for, each with words of its own.
pub const CODES: [&str; 4] =
    ["account.code.contact", "account.code.reset", "account.code.login", "account.code.link"];
const NOTICES: [Notice; 7] = [
    Notice::ContactChanged,
    Notice::PasswordChanged,
    Notice::SecondFactorChanged,
    Notice::WayInChanged,
    Notice::NewDevice,
    Notice::SessionCopied,
    Notice::Deletion,
];
/// The notices that go by mail alone.
const BY_MAIL: [Notice; 7] = [
    Notice::AgentSuspended,
    Notice::ApprovalRequested,
    Notice::ApprovalDecided,
    Notice::ApprovalExpired,
    Notice::ApprovalExecuted,
    Notice::RegistrationRepeated,
    Notice::Invitation,
];

/// Checks all of them.
pub(super) fn check(all: &BTreeMap<String, Template>, report: &mut Report) {
    for (name, template) in all {
        let place = Place::root().key("templates").key(name);
        let is_code = name == CODE || CODES.contains(&name.as_str());
        let is_by_mail = BY_MAIL.iter().any(|notice| notice.name() == name);
        if !is_code && !is_by_mail && !NOTICES.iter().any(|notice| notice.name() == name) {
            report
                .problem(&place, "there is no such notice")
                .hint("write one of docs/notices.md, such as `account.code.login`");
            continue;
        }
        // What a notice is for must reach its reader; `{text}` holds it whatever it is.
        let door = match name.as_str() {
            "account.code.link" => Some("{link}"),
            CODE | "account.deletion" | "organization.invitation" => Some("{text}"),
            _ if is_code => Some("{code}"),
            _ => None,
        };
        template.check(&place, is_code, door, report);
        if is_by_mail && template.message.is_some() {
            report
                .problem(&place.key("message"), "no text message is ever sent of this")
                .hint("leave it out; `subject` and `mail` are what is said");
        }
    }
}

impl Template {
    fn check(&self, place: &Place, is_code: bool, door: Option<&str>, report: &mut Report) {
        let parts = [
            ("subject", &self.subject, SUBJECT_MAX),
            ("mail", &self.mail, MAIL_MAX),
            ("message", &self.message, MESSAGE_MAX),
        ];
        for (name, text, most) in parts {
            let Some(text) = text else { continue };
            let place = place.key(name);
            if text.trim().is_empty() || text.len() > most {
                report.problem(&place, format!("between 1 and {most} bytes; `null` for the gateway's own"));
            }
            for word in words(text) {
                let is_known = match word {
                    "host" | "subject" => true,
                    "text" => name != "subject",
                    "code" | "link" | "until" => is_code && name != "subject",
                    _ => false,
                };
                if !is_known {
                    report
                        .problem(&place, format!("`{{{word}}}` means nothing here"))
                        .hint("write `{host}` or `{text}`, and for codes `{code}`, `{link}` or `{until}`");
                }
            }
            let door = door.filter(|_| name != "subject");
            if let Some(door) = door
                && !text.contains(door)
                && !text.contains("{text}")
            {
                report
                    .problem(&place, format!("its reader would never see what they asked for: no `{door}`"))
                    .hint("`{text}` stands for all that the gateway would have said");
            }
        }
        if self.subject.as_ref().is_some_and(|subject| subject.contains(['\r', '\n'])) {
            report.problem(&place.key("subject"), "one line");
        }
    }
}

/// The words that stand in braces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(word, _)| word)).filter(|word| {
        !word.is_empty()
            && word.len() <= 20
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    })
}

/// A text with values in place of the words in braces. What a value holds is taken as it is: nobody's name is
/// read as a template.
#[must_use]
pub fn fill<'a>(text: &str, value: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut all = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        all.push_str(before);
        let filled = after.split_once('}').and_then(|(word, after)| value(word).map(|value| (value, after)));
        let (said, after) = filled.unwrap_or(("{", after));
        all.push_str(said);
        rest = after;
    }
    all + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_text;
    use proptest::prelude::*;

    #[test]
    fn what_stands_in_braces_is_filled_in_once() {
        let value = |word: &str| match word {
            "code" => Some("123456"),
            "name" => Some("{code}{"),
            _ => None,
        };
        assert_eq!(fill("a {code} {name} {other} {} }{", value), "a 123456 {code}{ {other} {} }{");
    }

    #[test]
    fn a_template_that_could_not_do_what_it_is_for_is_refused() {
        let problem = |template: &str| {
            let yaml = format!("preset: development\ntemplates: {{ {template} }}\n");
            load_text(&yaml).err().map(|problems| problems.to_string()).unwrap_or_default()
        };
        for good in [
            "account.code.login: { mail: 'Hier: {code} bis {until}', message: '{code}' }",
            "account.code.link: { subject: 'Ihr Link bei {host}', mail: '{link}' }",
            "account.code: { mail: '{text} -- Acme' }",
            "account.new_device: { mail: 'Jemand. {not a word} {}', subject: 'Neu' }",
            "organization.invitation: { mail: '{text} -- Acme', subject: 'Einladung' }",
        ] {
            assert_eq!(problem(good), "", "{good}");
        }
        for (bad, expected) in [
            ("account.codes: { mail: x }", "no such notice"),
            ("account.code.login: { mail: 'Hello' }", "no `{code}`"),
            ("account.code.link: { mail: '{code}' }", "no `{link}`"),
            ("account.code: { message: '{code}' }", "no `{text}`"),
            ("account.deletion: { mail: 'Good bye' }", "no `{text}`"),
            ("account.new_device: { mail: '{code}' }", "`{code}` means nothing here"),
            ("account.code.login: { subject: '{code}' }", "`{code}` means nothing here"),
            ("account.new_device: { subject: '{text}' }", "`{text}` means nothing here"),
            ("account.new_device: { subject: ' ' }", "between 1 and 200"),
            ("account.new_device: { subject: \"a\\nb\" }", "one line"),
            ("organization.invitation: { mail: 'Come' }", "no `{text}`"),
            ("organization.invitation: { message: '{text}' }", "no text message is ever sent"),
            ("approval.requested: { message: 'Look' }", "no text message is ever sent"),
        ] {
            assert!(problem(bad).contains(expected), "{bad}: {}", problem(bad));
        }
    }

    proptest! {
        #[test]
        fn a_text_without_values_stays_what_it_is(text: String) {
            prop_assert_eq!(fill(&text, |_| None), text);
        }
    }
}
