//! The keyring: which key signs now, which ones still verify, and what is published.
//!
//! Law: an immutable value; `keys` builds a new one from the store and `App` swaps it whole. When
//! a key comes and goes is a function of the moment asked about, so that a key that is over stops
//! at its second and a new one signs only after every replica has had time to learn of it.

use serde_json::{Value, json};

use super::key::{Algorithm, SigningKey, VerifyingKey};
use crate::base::Timestamp;

/// What a key signs. A token of one purpose never verifies as another, whatever its claims say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Access tokens, which come back to us.
    Access,
    /// Assertions, which upstreams verify.
    Assertion,
}

impl Purpose {
    /// The word in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Assertion => "assertion",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Access, Self::Assertion].into_iter().find(|purpose| purpose.name() == name)
    }
}

/// One key and its time.
#[derive(Debug)]
pub struct Member {
    pub purpose: Purpose,
    pub key: SigningKey,
    /// From when it signs. It is published and verifies before that.
    pub active_from: Timestamp,
    /// Until when it verifies and is published; `None` while it is not retired.
    pub published_until: Option<Timestamp>,
}

impl Member {
    fn is_published(&self, now: Timestamp) -> bool {
        self.published_until.is_none_or(|until| until > now)
    }
}

/// Every key of this gateway that is not over.
#[derive(Debug, Default)]
pub struct Keyring {
    members: Vec<Member>,
}

impl Keyring {
    /// A ring of these keys. An HS256 key cannot sign assertions, since whoever verifies could
    /// also sign, and is left out.
    #[must_use]
    pub fn new(mut members: Vec<Member>) -> Self {
        members.retain(|member| {
            member.purpose != Purpose::Assertion || member.key.algorithm() != Algorithm::Hs256
        });
        members.sort_by_key(|member| member.active_from);
        Self { members }
    }

    /// The key that signs now: of those whose time has come, the one that came last.
    #[must_use]
    pub fn active(&self, purpose: Purpose, now: Timestamp) -> Option<&SigningKey> {
        let is_active = |m: &&Member| m.purpose == purpose && m.active_from <= now && m.is_published(now);
        self.members.iter().rev().find(is_active).map(|member| &member.key)
    }

    /// The key of this purpose that a token names.
    #[must_use]
    pub fn find(&self, purpose: Purpose, kid: &str, now: Timestamp) -> Option<&VerifyingKey> {
        let is_named = |m: &&Member| m.purpose == purpose && m.key.kid() == kid && m.is_published(now);
        self.members.iter().find(is_named).map(|member| member.key.verifying())
    }

    /// The public keys of both purposes as a JWK set (RFC 7517), secrets left out.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Value {
        let published = self.members.iter().filter(|member| member.is_published(now));
        json!({"keys": published.filter_map(|m| m.key.verifying().jwk()).collect::<Vec<_>>()})
    }

    /// All members, the oldest first.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::SeededRandom;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn member(purpose: Purpose, algorithm: Algorithm, from: i64, until: Option<i64>, seed: u64) -> Member {
        Member {
            purpose,
            key: SigningKey::generate(algorithm, &SeededRandom::new(seed)).unwrap(),
            active_from: at(from),
            published_until: until.map(at),
        }
    }

    #[test]
    fn a_new_key_is_published_before_it_signs_and_an_old_one_after() {
        let ring = Keyring::new(vec![
            member(Purpose::Access, Algorithm::EdDsa, 100, None, 2),
            member(Purpose::Access, Algorithm::EdDsa, 0, Some(200), 1),
        ]);
        let (old, new) = (ring.members()[0].key.kid(), ring.members()[1].key.kid());
        let active = |now| ring.active(Purpose::Access, at(now)).map(SigningKey::kid);
        assert_eq!((active(99), active(100), active(500)), (Some(old), Some(new), Some(new)));
        let found = |kid, now| ring.find(Purpose::Access, kid, at(now)).is_some();
        assert!(found(new, 99) && found(old, 199) && !found(old, 200) && found(new, 500));
        assert_eq!(ring.jwks(at(199))["keys"].as_array().unwrap().len(), 2);
        assert_eq!(ring.jwks(at(200))["keys"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_key_serves_one_purpose() {
        let ring = Keyring::new(vec![member(Purpose::Access, Algorithm::EdDsa, 0, None, 1)]);
        let kid = ring.members()[0].key.kid();
        assert!(ring.find(Purpose::Assertion, kid, at(1)).is_none());
        assert!(ring.active(Purpose::Assertion, at(1)).is_none());
    }

    #[test]
    fn a_shared_secret_is_neither_published_nor_used_for_assertions() {
        let ring = Keyring::new(vec![
            member(Purpose::Access, Algorithm::Hs256, 0, None, 1),
            member(Purpose::Assertion, Algorithm::Hs256, 0, None, 2),
            member(Purpose::Assertion, Algorithm::Es256, 0, None, 3),
        ]);
        let keys = ring.jwks(at(1));
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
        assert_eq!(keys["keys"][0]["alg"], "ES256");
        assert!(keys["keys"][0].get("d").is_none() && keys["keys"][0].get("k").is_none());
        assert_eq!(ring.active(Purpose::Assertion, at(1)).unwrap().algorithm(), Algorithm::Es256);
    }
}
