//! Time-based codes: the seed, which time step a code belongs to, and the seed as apps read it.
//!
//! Law: SHA-1, six digits, thirty seconds, one step of skew to either side (contract section 17).
//! A seed leaves this file sealed, or to its owner once.

use std::fmt::Write;

use totp_rs::{Builder, Totp};

use super::code::{Code, Kind};
use crate::app::App;
use crate::base::{Id, Random, Secret, Timestamp};
use crate::store::Error;

/// 160 bits, as RFC 4226 section 4 recommends: 32 characters in base32.
const SEED_LEN: usize = 20;

/// What a device and we have in common.
#[derive(Debug, Clone)]
pub struct Seed(Secret<Vec<u8>>);

impl Seed {
    pub(super) fn generate(random: &dyn Random) -> Self {
        let mut bytes = vec![0; SEED_LEN];
        random.fill(&mut bytes);
        Self(Secret::new(bytes))
    }

    pub(super) fn seal(&self, app: &App, account: Id) -> Vec<u8> {
        app.seal.seal(app.random.as_ref(), &context(account), self.0.expose())
    }

    pub(super) fn open(app: &App, account: Id, sealed: &[u8]) -> Result<Self, Error> {
        let unreadable = |_| Error::Broken { cause: "a seed was sealed with another key".into() };
        app.seal.open(&context(account), sealed).map(Self).map_err(unreadable)
    }

    /// As authenticator apps take it from a person's fingers.
    #[must_use]
    pub fn base32(&self) -> Secret<String> {
        Secret::new(totp_rs::Secret::from(self.0.expose().clone()).to_base32())
    }

    fn totp(&self) -> Option<Totp> {
        Builder::new().with_secret(self.0.expose().clone()).build().ok()
    }

    /// The time step whose code this is, among those near `now`.
    pub(super) fn step_of(&self, code: &Code, now: Timestamp) -> Option<i64> {
        let seconds = u64::try_from(now.as_secs()).ok().filter(|_| code.kind() == Kind::Device)?;
        self.totp()?.check(code.expose(), seconds).and_then(|step| i64::try_from(step).ok())
    }

    /// The code of a moment, as the device shows it.
    #[must_use]
    pub fn code_at(&self, now: Timestamp) -> Secret<String> {
        let seconds = u64::try_from(now.as_secs()).unwrap_or_default();
        Secret::new(self.totp().map(|totp| totp.generate(seconds).to_string()).unwrap_or_default())
    }

    /// Reads what [`Seed::base32`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let secret = totp_rs::Secret::try_from_base32(text).ok()?;
        Some(Self(Secret::new(secret.as_bytes().to_vec())))
    }
}

/// A seed that is moved to another account does not open.
fn context(account: Id) -> String {
    format!("totp:{account}")
}

/// The seed in the form that QR codes carry.
pub(super) fn uri(seed: &Seed, issuer: &str, label: &str) -> Secret<String> {
    let (issuer, label) = (escaped(issuer), escaped(label));
    let secret = seed.base32();
    Secret::new(format!("otpauth://totp/{issuer}:{label}?secret={}&issuer={issuer}", secret.expose()))
}

/// Everything but unreserved characters (RFC 3986 section 2.3) as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// The seed of RFC 6238 appendix B, whose codes have eight digits there.
    fn published() -> Seed {
        Seed(Secret::new(b"12345678901234567890".to_vec()))
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(published().code_at(at(seconds)).expose(), code, "{seconds}");
            let given = Code::read(code).unwrap();
            assert_eq!(published().step_of(&given, at(seconds)), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_counts_one_step_before_and_after_its_own() {
        let given = Code::read(published().code_at(at(1_800_000_015)).expose()).unwrap();
        let step = 1_800_000_015 / 30;
        for (seconds, found) in [
            (1_799_999_969, None),
            (1_799_999_970, Some(step)),
            (1_800_000_000, Some(step)),
            (1_800_000_029, Some(step)),
            (1_800_000_059, Some(step)),
            (1_800_000_060, None),
        ] {
            assert_eq!(published().step_of(&given, at(seconds)), found, "{seconds}");
        }
    }

    #[test]
    fn a_seed_is_told_as_the_contract_tells_it() {
        let uri = uri(&published(), "Tenxyte", "carol2@example.com");
        assert_eq!(
            uri.expose(),
            "otpauth://totp/Tenxyte:carol2%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Tenxyte"
        );
        let seed = Seed::parse("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        assert_eq!(seed.base32().expose().len(), 32);
        assert_eq!(seed.code_at(at(59)).expose(), "287082");
        assert_eq!(escaped("A & B: ü"), "A%20%26%20B%3A%20%C3%BC");
        assert!(!format!("{seed:?}").contains("GEZD"));
    }
}
