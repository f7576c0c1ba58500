//! `Digits`: a code as a person types it.
//!
//! Law: every code is as likely as every other one, and none shows itself.

use std::fmt;

use crate::base::{Random, Secret};

/// How many digits there are.
const COUNT: usize = 6;
/// One more than the largest code.
const END: u32 = 1_000_000;

/// Six digits.
#[derive(Clone, Debug)]
pub struct Digits(Secret<String>);

/// The text is not six digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotDigits;

impl fmt::Display for NotDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enter the 6 digits of the code.")
    }
}

impl std::error::Error for NotDigits {}

impl Digits {
    /// A code that nobody has seen.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        loop {
            let mut bytes = [0u8; 4];
            random.fill(&mut bytes);
            let number = u32::from_le_bytes(bytes);
            // What lies above the last whole million would make small codes likelier.
            if number < u32::MAX - u32::MAX % END {
                return Self(Secret::new(format!("{:06}", number % END)));
            }
        }
    }

    /// Reads what somebody typed; blanks around it do not count.
    ///
    /// # Errors
    /// [`NotDigits`].
    pub fn parse(text: &str) -> Result<Self, NotDigits> {
        let text = text.trim();
        let ok = text.len() == COUNT && text.bytes().all(|byte| byte.is_ascii_digit());
        if ok { Ok(Self(Secret::new(text.to_owned()))) } else { Err(NotDigits) }
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    #[test]
    fn a_code_is_six_digits_and_shows_none_of_them() {
        let random = SeededRandom::new(5);
        let codes: Vec<Digits> = (0..2000).map(|_| Digits::generate(&random)).collect();
        assert!(codes.iter().all(|code| Digits::parse(code.expose()).is_ok()));
        assert!(codes.iter().any(|code| code.expose().starts_with('0')), "leading zeros are kept");
        assert_eq!(format!("{:?}", codes[0]), "Digits([secret])");
    }

    #[test]
    fn one_spelling_and_no_other_is_read() {
        assert_eq!(Digits::parse(" 012345\n").unwrap().expose(), "012345");
        for text in ["", "12345", "1234567", "12 345", "12345a", "１２３４５６", "-12345", "1e5000"] {
            assert!(Digits::parse(text).is_err(), "{text:?}");
        }
    }
}
