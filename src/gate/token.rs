//! Access tokens that were verified a moment ago, and those that were not good.
//!
//! Law: the key of the cache is the SHA-256 of the exact token bytes, never a part of it; an entry
//! lives until the earlier of the token's end and 30 s, and only while the signing keys are the
//! same. Whether the session behind it still lives is asked on every request, elsewhere. An
//! address that sends many bad tokens is refused before the next signature is checked.

use std::net::IpAddr;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::failure::Failures;
use super::person::Key;
use crate::base::Timestamp;
use crate::config::Tokens;
use crate::crypto::digest::sha256;
use crate::crypto::jwt::Invalid;
use crate::crypto::keyring::Keyring;
use crate::principal::Scope;
use crate::session;

/// How long a verified token is believed without checking its signature again.
const BELIEVED_FOR: Duration = Duration::from_secs(30);
/// How long a bad token is known to be bad: long enough to make repeating it cheap.
const DISBELIEVED_FOR: Duration = Duration::from_secs(1);
const GOOD_MAX: usize = 100_000;
const BAD_MAX: usize = 10_000;

/// What a verified token says. It names a session and carries no rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    pub key: Key,
    pub scope: Option<Scope>,
    pub expires_at: Timestamp,
}

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Invalid(Invalid),
    /// It was found bad less than a second ago.
    KnownBad,
    /// Too many bad tokens came from this address; this one was not looked at.
    TooManyFailures {
        retry_after: Duration,
    },
}

/// Whether the signature had to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Cached,
    Checked,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    verified: Verified,
    until: Timestamp,
    keys_epoch: i64,
}

/// Which keys verify what, and when they changed last.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a> {
    pub ring: &'a Keyring,
    pub settings: &'a Tokens,
    pub epoch: i64,
}

/// The caches of one process.
#[derive(Debug)]
pub struct Believed {
    good: Cache<[u8; 32], Entry>,
    bad: Cache<[u8; 32], Timestamp>,
    failures: Failures,
}

impl Believed {
    pub fn new() -> Self {
        Self { good: Cache::new(GOOD_MAX), bad: Cache::new(BAD_MAX), failures: Failures::new() }
    }

    /// The bad credentials that addresses sent.
    pub const fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Forgets everything: what a token must say has changed.
    pub fn clear(&self) {
        self.good.clear();
        self.bad.clear();
    }

    /// What the token says, if it is one of ours and not over.
    pub fn verify(
        &self,
        token: &str,
        keys: Keys<'_>,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<(Verified, Freshness), Refused> {
        let digest = sha256(token.as_bytes());
        if let Some(entry) = self.good.get(&digest)
            && entry.keys_epoch == keys.epoch
            && now < entry.until
        {
            return Ok((entry.verified, Freshness::Cached));
        }
        if self.bad.get(&digest).is_some_and(|until| now < until) {
            return Err(Refused::KnownBad);
        }
        self.failures.check(client, now).map_err(|retry_after| Refused::TooManyFailures { retry_after })?;
        match read(token, keys, now) {
            Ok(verified) => {
                let until = verified.expires_at.min(now.plus(BELIEVED_FOR));
                self.good.insert(digest, Entry { verified, until, keys_epoch: keys.epoch });
                Ok((verified, Freshness::Checked))
            }
            Err(invalid) => {
                self.bad.insert(digest, now.plus(DISBELIEVED_FOR));
                self.failures.count(client, now);
                Err(Refused::Invalid(invalid))
            }
        }
    }
}

fn read(token: &str, keys: Keys<'_>, now: Timestamp) -> Result<Verified, Invalid> {
    let claims = session::read_access(keys.ring, keys.settings, token, now)?;
    // What is not an id names no application; whether that is so is asked of the session.
    let application = claims.app_id.parse().ok();
    let scope = claims.scope.as_deref().map(|text| Scope::named(text).ok_or(Invalid::Claims)).transpose()?;
    let expires_at = Timestamp::from_millis(claims.exp.saturating_mul(1000));
    let key = Key::of_session(claims.sid, claims.sub, application);
    Ok(Verified { key, scope, expires_at })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::base::random::SeededRandom;
    use crate::config::{self, Config};
    use crate::crypto::jwt;
    use crate::crypto::key::{Algorithm, SigningKey};
    use crate::crypto::keyring::{Member, Purpose};

    const NOW: i64 = 1_800_000_000;
    const ACCOUNT: &str = "0190b8a2-7c1e-7f00-8000-00000000000a";
    const SID: &str = "0190b8a2-7c1e-7f00-8000-00000000000b";

    struct Setting {
        believed: Believed,
        ring: Keyring,
        config: Arc<Config>,
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn ring(seed: u64) -> Keyring {
        let key = SigningKey::generate(Algorithm::EdDsa, &SeededRandom::new(seed)).unwrap();
        let member = Member { purpose: Purpose::Access, key, active_from: at(0), published_until: None };
        Keyring::new(vec![member])
    }

    fn token(ring: &Keyring, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({"type": "access", "sub": ACCOUNT, "user_id": ACCOUNT, "sid": SID, "jti": SID,
            "app_id": "default", "iss": "portcullis", "iat": NOW, "nbf": NOW, "exp": NOW + 900});
        change(&mut claims);
        jwt::sign(ring.active(Purpose::Access, at(NOW)).unwrap(), jwt::ACCESS, &claims).unwrap()
    }

    fn setting() -> Setting {
        let config = config::load_text("preset: medium").unwrap_or_else(|p| panic!("{p}")).config;
        Setting { believed: Believed::new(), ring: ring(1), config }
    }

    impl Setting {
        fn ask_from(&self, client: [u8; 4], token: &str, epoch: i64, now: i64) -> Result<Freshness, Refused> {
            let keys = Keys { ring: &self.ring, settings: &self.config.tokens, epoch };
            self.believed.verify(token, keys, IpAddr::from(client), at(now)).map(|found| found.1)
        }

        fn ask(&self, token: &str, epoch: i64, now: i64) -> Result<Freshness, Refused> {
            self.ask_from([192, 0, 2, 1], token, epoch, now)
        }
    }

    #[test]
    fn a_verified_token_is_believed_for_thirty_seconds_under_the_same_keys() {
        let setting = setting();
        let token = token(&setting.ring, |_| {});
        assert_eq!(setting.ask(&token, 0, NOW), Ok(Freshness::Checked));
        assert_eq!(setting.ask(&token, 0, NOW + 29), Ok(Freshness::Cached));
        assert_eq!(setting.ask(&token, 1, NOW + 29), Ok(Freshness::Checked));
        assert_eq!(setting.ask(&token, 1, NOW + 59), Ok(Freshness::Checked));
        assert_eq!(setting.ask(&token, 1, NOW + 899), Ok(Freshness::Checked));
        assert_eq!(setting.ask(&token, 1, NOW + 900), Err(Refused::Invalid(Invalid::Expired)));
    }

    #[test]
    fn a_token_of_another_kind_or_with_another_spelling_opens_nothing() {
        let setting = setting();
        let forms: [fn(&mut Value); 4] = [
            |claims| claims["type"] = json!("refresh"),
            |claims| claims["user_id"] = json!(SID),
            |claims| claims["sid"] = json!("7"),
            |claims| claims["scope"] = json!("everything"),
        ];
        for change in forms {
            assert!(setting.ask(&token(&setting.ring, change), 0, NOW).is_err());
        }
        let good = token(&setting.ring, |claims| claims["scope"] = json!("password_change_only"));
        assert_eq!(setting.ask(&good, 0, NOW), Ok(Freshness::Checked));
        assert!(setting.ask(&format!("{good}="), 0, NOW).is_err());
        assert!(setting.ask(&good[..good.len() - 1], 0, NOW).is_err());
    }

    #[test]
    fn an_address_that_sends_garbage_is_refused_before_the_next_signature() {
        let (setting, other) = (setting(), ring(2));
        let id = |n: u128| json!(crate::base::Id::from_u128(n));
        let good = token(&setting.ring, |_| {});
        setting.ask(&good, 0, NOW).unwrap();
        let mut last = Ok(Freshness::Cached);
        for n in 0..200 {
            last = setting.ask(&token(&other, |claims| claims["jti"] = id(n)), 0, NOW);
        }
        assert!(matches!(last, Err(Refused::TooManyFailures { .. })), "{last:?}");
        assert_eq!(
            setting.ask(&good, 0, NOW),
            Ok(Freshness::Cached),
            "what is known to be good still passes"
        );
        let fresh = token(&setting.ring, |claims| claims["jti"] = id(9));
        assert!(setting.ask_from([192, 0, 2, 2], &fresh, 0, NOW).is_ok(), "others are not punished");
        let later = token(&setting.ring, |claims| claims["jti"] = id(8));
        assert!(setting.ask(&later, 0, NOW + 20).is_ok(), "and it heals");
    }

    #[test]
    fn a_repeated_bad_token_is_not_checked_again_within_a_second() {
        let setting = setting();
        assert!(matches!(setting.ask("a.b.c", 0, NOW), Err(Refused::Invalid(_))));
        assert_eq!(setting.ask("a.b.c", 0, NOW), Err(Refused::KnownBad));
        assert!(matches!(setting.ask("a.b.c", 0, NOW + 1), Err(Refused::Invalid(_))));
    }
}
