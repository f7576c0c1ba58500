//! What somebody is told whose new password is not taken because of what others know.
//!
//! Law: the contract's words (section 16.1), and never the password.

use crate::breach;
use crate::http::{ApiError, ErrorCode as Code};

/// What somebody is told whose new password is not taken because of what others know.
pub(super) fn breached(refused: breach::Refused) -> ApiError {
    match refused {
        breach::Refused::Known { times } => ApiError::new(Code::PasswordBreached).saying(format!(
            "This password has appeared in {} data breaches. Please choose a different password.",
            grouped(times)
        )),
        breach::Refused::Unavailable => {
            ApiError::unavailable("whether a password is breached cannot be told")
        }
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
