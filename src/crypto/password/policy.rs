//! What a password must be: the contract's rules (section 16.1), or those of NIST SP 800-63B.
//!
//! Law: pure; every fault is reported at once, in a fixed order. Lengths are counted in characters
//! as people count them (Unicode scalar values), not in bytes.

use std::collections::BTreeSet;
use std::fmt;

use super::common::{COMMON, STEMS};

/// Which set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Character classes, sequences, repeats and a list of common passwords.
    Classes,
    /// Length and a look through decoration, no classes.
    Nist,
}

/// A kind of character that a password may have to contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Upper,
    Lower,
    Digit,
    Special,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Upper, Self::Lower, Self::Digit, Self::Special];

    fn contains(self, c: char) -> bool {
        match self {
            Self::Upper => c.is_ascii_uppercase(),
            Self::Lower => c.is_ascii_lowercase(),
            Self::Digit => c.is_ascii_digit(),
            Self::Special => c.is_ascii_punctuation(),
        }
    }

    const fn phrase(self) -> &'static str {
        match self {
            Self::Upper => "one uppercase letter",
            Self::Lower => "one lowercase letter",
            Self::Digit => "one digit",
            Self::Special => "one special character (!@#$%^&*...)",
        }
    }

    const fn range(self) -> &'static str {
        match self {
            Self::Upper => " (A-Z)",
            Self::Lower => " (a-z)",
            Self::Digit => " (0-9)",
            Self::Special => "",
        }
    }

    const fn points(self) -> i32 {
        match self {
            Self::Special => 15,
            _ => 10,
        }
    }
}

/// The rules of one site, as configured.
#[derive(Debug, Clone)]
pub struct Policy {
    pub rules: Rules,
    pub min_length: usize,
    pub max_length: usize,
    /// Asked for by [`Rules::Classes`] only.
    pub classes: Vec<Class>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { rules: Rules::Classes, min_length: 8, max_length: 128, classes: Class::ALL.to_vec() }
    }
}

/// What is known about whose password it is. An attacker knows it too.
#[derive(Debug, Clone, Copy, Default)]
pub struct Owner<'a> {
    pub email: Option<&'a str>,
    pub username: Option<&'a str>,
}

/// One thing that is wrong with a password. The `Display` text is for whoever chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    Empty,
    TooShort(usize),
    TooLong(usize),
    Missing(Class),
    TooFewDistinct,
    Common,
    Sequence,
    ContainsEmail,
    ContainsUsername,
    Repeats,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("A password is required."),
            Self::TooShort(min) => write!(f, "The password must have at least {min} characters."),
            Self::TooLong(max) => write!(f, "The password must have at most {max} characters."),
            Self::Missing(class) => write!(f, "The password must contain at least {}.", class.phrase()),
            Self::TooFewDistinct => {
                write!(f, "The password must contain at least {MIN_DISTINCT} different characters.")
            }
            Self::Common => f.write_str("This password is too common and easy to guess."),
            Self::Sequence => {
                f.write_str("The password contains a predictable sequence (such as 1234 or abcd).")
            }
            Self::ContainsEmail => f.write_str("The password must not contain your e-mail address."),
            Self::ContainsUsername => f.write_str("The password must not contain your user name."),
            Self::Repeats => {
                f.write_str("The password must not contain more than 3 identical characters in a row.")
            }
        }
    }
}

/// A score in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    Weak,
    Fair,
    Good,
    Strong,
    Excellent,
}

impl Strength {
    /// The word for a score of 0 to 100.
    #[must_use]
    pub const fn of(score: u8) -> Self {
        match score {
            0..30 => Self::Weak,
            30..50 => Self::Fair,
            50..70 => Self::Good,
            70..90 => Self::Strong,
            _ => Self::Excellent,
        }
    }

    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weak => "weak",
            Self::Fair => "fair",
            Self::Good => "good",
            Self::Strong => "strong",
            Self::Excellent => "excellent",
        }
    }
}

const MIN_DISTINCT: usize = 5;
/// What every policy refuses beside what [`Policy::requirements`] lists, which is the contract's own list.
pub const ALSO: &str = "Not a common one, and without the e-mail address in it";
/// A local part or user name shorter than this stands in many words by chance.
const MIN_OWN_WORD: usize = 3;
const RUN: usize = 4;
const SEQUENCES: [&str; 7] = [
    "0123456789",
    "9876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "azertyuiop",
    "qwertyuiop",
    "poiuytreza",
];

impl Policy {
    /// Everything that is wrong with `password`; empty when it will do.
    #[must_use]
    pub fn check(&self, password: &str, owner: &Owner<'_>) -> Vec<Weakness> {
        if password.is_empty() {
            return vec![Weakness::Empty];
        }
        let facts = Facts::of(password, owner);
        let mut found = Vec::new();
        let mut note = |is_so: bool, weakness| {
            if is_so {
                found.push(weakness);
            }
        };
        note(facts.length < self.min_length, Weakness::TooShort(self.min_length));
        note(facts.length > self.max_length, Weakness::TooLong(self.max_length));
        if self.rules == Rules::Classes {
            for class in &self.classes {
                note(!facts.has(*class), Weakness::Missing(*class));
            }
        }
        note(facts.distinct_folded < MIN_DISTINCT, Weakness::TooFewDistinct);
        match self.rules {
            Rules::Classes => {
                note(facts.is_common, Weakness::Common);
                note(facts.has_sequence, Weakness::Sequence);
                note(facts.has_email, Weakness::ContainsEmail);
                note(facts.has_repeats, Weakness::Repeats);
            }
            Rules::Nist => {
                note(facts.is_common || is_decorated(&facts.folded), Weakness::Common);
                note(facts.has_email, Weakness::ContainsEmail);
                note(facts.has_username, Weakness::ContainsUsername);
            }
        }
        found
    }

    /// 0 to 100, by the contract's table.
    #[must_use]
    pub fn score(&self, password: &str, owner: &Owner<'_>) -> u8 {
        if password.is_empty() {
            return 0;
        }
        let facts = Facts::of(password, owner);
        let of = |is_so: bool, points: i32| if is_so { points } else { 0 };
        let classes: i32 = Class::ALL.iter().map(|class| of(facts.has(*class), class.points())).sum();
        let length =
            of(facts.length >= self.min_length, 20) + of(facts.length >= 12, 10) + of(facts.length >= 16, 10);
        let score = length + classes + of(facts.distinct >= 8, 10)
            - of(facts.is_common, 30)
            - of(facts.has_sequence, 20)
            - of(facts.has_email, 15)
            - of(facts.has_username, 15)
            - of(facts.has_repeats, 10);
        u8::try_from(score.clamp(0, 100)).unwrap_or(0)
    }

    /// What to tell people before they choose.
    #[must_use]
    pub fn requirements(&self) -> Vec<String> {
        let mut lines = vec![format!("At least {} characters", self.min_length)];
        if self.rules == Rules::Classes {
            let line = |class: &Class| format!("At least {}{}", class.phrase(), class.range());
            lines.extend(self.classes.iter().map(line));
        }
        lines.push(format!("At least {MIN_DISTINCT} different characters"));
        lines
    }
}

/// What both the rules and the score ask about a password.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not the states of one thing")]
struct Facts<'a> {
    password: &'a str,
    folded: String,
    length: usize,
    distinct: usize,
    distinct_folded: usize,
    is_common: bool,
    has_sequence: bool,
    has_email: bool,
    has_username: bool,
    has_repeats: bool,
}

impl<'a> Facts<'a> {
    fn of(password: &'a str, owner: &Owner<'_>) -> Self {
        let folded = password.to_lowercase();
        let contains = |word: Option<&str>| {
            word.is_some_and(|word| {
                word.chars().count() >= MIN_OWN_WORD && folded.contains(&word.to_lowercase())
            })
        };
        let local_part = owner.email.and_then(|email| email.split('@').next());
        Self {
            password,
            length: password.chars().count(),
            distinct: password.chars().collect::<BTreeSet<_>>().len(),
            distinct_folded: folded.chars().collect::<BTreeSet<_>>().len(),
            is_common: COMMON.binary_search(&folded.as_str()).is_ok(),
            has_sequence: has_sequence(&folded),
            has_email: contains(local_part),
            has_username: contains(owner.username),
            has_repeats: has_repeats(password),
            folded,
        }
    }

    fn has(&self, class: Class) -> bool {
        self.password.chars().any(|c| class.contains(c))
    }
}

fn has_sequence(folded: &str) -> bool {
    SEQUENCES
        .iter()
        .any(|sequence| (0..=sequence.len() - RUN).any(|at| folded.contains(&sequence[at..at + RUN])))
}

fn has_repeats(password: &str) -> bool {
    let mut run = 0;
    let mut last = None;
    password.chars().any(|c| {
        run = if last == Some(c) { run + 1 } else { 1 };
        last = Some(c);
        run >= RUN
    })
}

/// Whether nothing is left but a common word once substitutions, digits and signs around it and
/// repetition are taken away: `P@ssw0rd2026!!`, `letmein-letmein`.
fn is_decorated(folded: &str) -> bool {
    let plain = |text: &str| text.chars().map(without_substitution).collect::<String>();
    let core = folded.trim_matches(|c: char| !c.is_alphabetic());
    [folded.to_owned(), plain(folded), plain(core)].iter().any(|text| {
        let mut words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        words.all(|word| word == first) && STEMS.iter().any(|stem| is_repeated(first, stem))
    })
}

fn is_repeated(word: &str, stem: &str) -> bool {
    !word.is_empty() && word.len().is_multiple_of(stem.len()) && stem.repeat(word.len() / stem.len()) == word
}

const fn without_substitution(c: char) -> char {
    match c {
        '@' | '4' => 'a',
        '0' => 'o',
        '3' => 'e',
        '$' | '5' => 's',
        '7' => 't',
        '1' | '!' => 'i',
        other => other,
    }
}
