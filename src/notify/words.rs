//! The words of the configuration in place of the gateway's own.
//!
//! Law: a template changes what is said, never whether, to whom or how often. What it leaves out is lost to
//! the reader; what it must not leave out, the configuration refused before.

use super::{Letter, Message};
use crate::app::App;
use crate::base::{Secret, Timestamp};
use crate::config::{Notice, Template, fill};
use crate::crypto::token::Token;

/// A moment as people are told it: `2026-11-20 10:15`, in UTC.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    let text = at.rfc3339();
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// A link to a page, with the token that it hands over.
#[must_use]
pub fn with_token(page: &str, token: &Token) -> Secret<String> {
    let sign = if page.contains('?') { '&' } else { '?' };
    Secret::new(format!("{page}{sign}token={}", token.expose()))
}

/// What a template may say of one notice. It may hold a code: it is never printed.
pub struct Words<'a> {
    name: &'a str,
    notice: &'static str,
    facts: &'a [(&'a str, &'a str)],
}

impl<'a> Words<'a> {
    /// Of a notice that has no facts of its own.
    #[must_use]
    pub const fn of(notice: Notice) -> Self {
        Self { name: notice.name(), notice: notice.name(), facts: &[] }
    }

    /// Of a kind of a notice, with what may stand in braces.
    #[must_use]
    pub const fn with(name: &'a str, notice: Notice, facts: &'a [(&'a str, &'a str)]) -> Self {
        Self { name, notice: notice.name(), facts }
    }

    pub(super) fn letter(&self, app: &App, letter: Letter) -> Letter {
        let config = app.config();
        let part = |of: fn(&Template) -> Option<&String>| {
            let own = config.templates.get(self.name).and_then(of);
            own.or_else(|| config.templates.get(self.notice).and_then(of))
        };
        let host = &config.public_url.host;
        let say = |template: Option<&String>, usual: &str| {
            let fill = |template: &String| self.fill(template, (host, &letter.subject, &letter.text));
            template.map_or_else(|| usual.to_owned(), fill)
        };
        let subject = say(part(|template| template.subject.as_ref()), &letter.subject);
        let text = say(part(|template| template.mail.as_ref()), &letter.text);
        Letter { account: letter.account, to: letter.to, subject, text }
    }

    pub(super) fn message(&self, app: &App, message: Message) -> Message {
        let config = app.config();
        let of = |name: &str| config.templates.get(name).and_then(|template| template.message.as_ref());
        let Some(template) = of(self.name).or_else(|| of(self.notice)) else { return message };
        let text = self.fill(template, (&config.public_url.host, "", &message.text));
        Message { text, ..message }
    }

    fn fill(&self, template: &str, (host, subject, text): (&str, &str, &str)) -> String {
        fill(template, |word| match word {
            "host" => Some(host),
            "subject" => Some(subject),
            "text" => Some(text),
            word => self.facts.iter().find(|(name, _)| *name == word).map(|(_, value)| *value),
        })
    }
}
