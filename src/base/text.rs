//! Text that names people and things, parsed and normalised once.
//!
//! Law: two spellings of one e-mail, phone number or slug become the same value here, so that a
//! database constraint can keep them unique; what has no single meaning is refused.

use std::fmt;

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_type!(
    /// An e-mail address, trimmed and in lower case.
    Email
);
text_type!(
    /// A telephone number in E.164 form: `+` and 7 to 15 digits.
    Phone
);
text_type!(
    /// The name of an organization in a URL or header: lower-case letters, digits, `-` and `_`.
    Slug
);

/// Why a text was refused. The `Display` text is safe to show to whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Email,
    Phone,
    Slug,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "Enter a valid email address.",
            Self::Phone => "Enter a valid phone number: a country code and 4 to 14 digits.",
            Self::Slug => "Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens.",
        })
    }
}

impl std::error::Error for Refused {}

const EMAIL_MAX: usize = 254;
const EMAIL_LOCAL_MAX: usize = 64;
const SLUG_MAX: usize = 100;

impl Email {
    /// Trims blanks, lower-cases, and accepts `local@domain` in ASCII. Quoted local parts,
    /// comments, address literals and non-ASCII look-alikes are refused: each allows one
    /// mailbox to be written in two ways.
    ///
    /// # Errors
    /// [`Refused::Email`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let text = text.trim_matches(' ').to_ascii_lowercase();
        let (local, domain) = text.split_once('@').ok_or(Refused::Email)?;
        let local_ok = !local.is_empty()
            && local.len() <= EMAIL_LOCAL_MAX
            && local.split('.').all(|part| !part.is_empty() && part.bytes().all(is_email_atom));
        let ok = text.len() <= EMAIL_MAX && local_ok && is_domain(domain);
        if ok { Ok(Self(text)) } else { Err(Refused::Email) }
    }
}

fn is_email_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_domain(domain: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    domain.contains('.') && domain.split('.').all(label_ok)
}

impl Phone {
    /// A country code (`+33`, `33`) and a national number, as the contract's wire has them.
    /// Blanks, dots, hyphens and parentheses between digits are dropped.
    ///
    /// # Errors
    /// [`Refused::Phone`].
    pub fn from_parts(country_code: &str, number: &str) -> Result<Self, Refused> {
        let code = country_code.trim().trim_start_matches('+');
        let number = number.trim();
        if code.is_empty() || code.len() > 3 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused::Phone);
        }
        if number.starts_with('+') {
            return Err(Refused::Phone);
        }
        Self::parse(&format!("+{code}{number}"))
    }

    /// A full international number such as `+33 6 12 34 56 78`.
    ///
    /// # Errors
    /// [`Refused::Phone`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let rest = text.trim().strip_prefix('+').ok_or(Refused::Phone)?;
        let mut digits = String::from("+");
        for c in rest.chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '.' | '-' | '(' | ')' => {}
                _ => return Err(Refused::Phone),
            }
        }
        let count = digits.len() - 1;
        if (7..=15).contains(&count) && !digits.starts_with("+0") {
            Ok(Self(digits))
        } else {
            Err(Refused::Phone)
        }
    }
}

impl Slug {
    /// Lower-cases and accepts letters, digits, `-` and `_`, at most 100 of them.
    ///
    /// # Errors
    /// [`Refused::Slug`].
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let text = text.to_ascii_lowercase();
        let ok = !text.is_empty()
            && text.len() <= SLUG_MAX
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if ok { Ok(Self(text)) } else { Err(Refused::Slug) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_become_one_email() {
        for text in ["Alice@Example.com", " alice@example.COM ", "alice@example.com"] {
            assert_eq!(Email::parse(text).unwrap().as_str(), "alice@example.com");
        }
    }

    #[test]
    fn ambiguous_emails_are_refused() {
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "a",
            "@",
            "a@",
            "@b.c",
            "a@b",
            "a@evil@good.com",
            "a@b.c\n",
            "a\n@b.c",
            "a b@c.d",
            "\"a b\"@c.d",
            "a@[127.0.0.1]",
            "а@example.com",
            "a@exämple.com",
            ".a@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b..c",
            &long,
        ] {
            assert_eq!(Email::parse(text), Err(Refused::Email), "{text:?}");
        }
    }

    #[test]
    fn phone_numbers_have_one_form() {
        assert_eq!(Phone::from_parts("+33", "6 12 34 56 78").unwrap().as_str(), "+33612345678");
        assert_eq!(Phone::from_parts("33", "612345678").unwrap().as_str(), "+33612345678");
        assert_eq!(Phone::parse("+33 (6) 12-34.56.78").unwrap().as_str(), "+33612345678");
        for (code, number) in
            [("", "612345678"), ("+", "6"), ("33", "+612345678"), ("0", "612345678"), ("33", "12a4")]
        {
            assert_eq!(Phone::from_parts(code, number), Err(Refused::Phone), "{code} {number}");
        }
    }

    #[test]
    fn slugs_are_case_blind_and_plain() {
        assert_eq!(Slug::parse("Acme-Corp_1").unwrap().as_str(), "acme-corp_1");
        for text in ["", "a b", "a.", "a%2e", "ä", "a/b"] {
            assert_eq!(Slug::parse(text), Err(Refused::Slug), "{text:?}");
        }
    }
}
