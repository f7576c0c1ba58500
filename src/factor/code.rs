//! `Code`: what somebody typed to prove a second factor, in its one form.
//!
//! Law: blanks and dashes are not part of a code and its letters have no case; anything else that
//! is not a code is nonsense, which opens nothing and counts as a try like any other.

use crate::base::Secret;

/// Digits of a code of the device.
const DIGITS: usize = 6;
/// Hexadecimal digits of a backup code.
pub(super) const BACKUP_LEN: usize = 16;

/// What kind of code a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Six digits, from the device.
    Device,
    Backup,
    Nonsense,
}

/// A code that somebody gave.
#[derive(Debug, Clone)]
pub struct Code(Secret<String>);

impl Code {
    /// The longest text that is taken for a code at all.
    pub const MAX_LEN: usize = 64;

    /// Reads a code; `None` where nothing was typed.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bare: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '-')
            .map(|c| c.to_ascii_lowercase())
            .collect();
        (!bare.is_empty()).then(|| Self(Secret::new(bare)))
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        let text = self.expose();
        let (is_digits, is_hex) = (
            text.bytes().all(|byte| byte.is_ascii_digit()),
            text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        );
        match text.len() {
            DIGITS if is_digits => Kind::Device,
            BACKUP_LEN if is_hex => Kind::Backup,
            _ => Kind::Nonsense,
        }
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_one_form_however_it_is_typed() {
        for (text, kind, form) in [
            ("123456", Kind::Device, "123456"),
            (" 123 456 ", Kind::Device, "123456"),
            ("123-456", Kind::Device, "123456"),
            ("2BB5F1BB-6d1724EE", Kind::Backup, "2bb5f1bb6d1724ee"),
            ("2bb5f1bb 6d1724ee", Kind::Backup, "2bb5f1bb6d1724ee"),
            ("0123456", Kind::Nonsense, "0123456"),
            ("12345", Kind::Nonsense, "12345"),
            ("+12345", Kind::Nonsense, "+12345"),
            ("١٢٣٤٥٦", Kind::Nonsense, "١٢٣٤٥٦"),
            ("１２３４５６", Kind::Nonsense, "１２３４５６"),
            ("2bb5f1bb6d1724eg", Kind::Nonsense, "2bb5f1bb6d1724eg"),
        ] {
            let code = Code::read(text).unwrap();
            assert_eq!((code.kind(), code.expose()), (kind, form), "{text:?}");
        }
        assert!(Code::read(" - ").is_none());
    }
}
