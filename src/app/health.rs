//! Health: whether this process should be given traffic, and if not, why.
//!
//! Law: each reason has a name and one owner, who sets and clears it. What only part of the
//! traffic needs does not take all of it away: it is told, and the process stays ready.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The reasons not to be ready (none is ready), and what else is wrong.
#[derive(Debug, Default)]
pub struct Health {
    reasons: Mutex<Texts>,
    lacks: Mutex<Texts>,
}

impl Health {
    /// Not ready because of `name`, until [`Health::clear`]. The text is for operators.
    pub fn fail(&self, name: &'static str, text: impl Into<String>) {
        held(&self.reasons).insert(name, text.into());
    }

    pub fn clear(&self, name: &'static str) {
        held(&self.reasons).remove(name);
    }

    /// Without `name` some requests are refused, until [`Health::regain`]. The text is for
    /// operators.
    pub fn lack(&self, name: &'static str, text: impl Into<String>) {
        held(&self.lacks).insert(name, text.into());
    }

    pub fn regain(&self, name: &'static str) {
        held(&self.lacks).remove(name);
    }

    pub fn is_ready(&self) -> bool {
        held(&self.reasons).is_empty()
    }

    /// What is lacking, with its text, by name.
    pub fn lacking(&self) -> Vec<(&'static str, String)> {
        listed(&self.lacks)
    }

    /// Every reason with its text, by name.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        listed(&self.reasons)
    }
}

type Texts = BTreeMap<&'static str, String>;

fn held(texts: &Mutex<Texts>) -> MutexGuard<'_, Texts> {
    texts.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listed(texts: &Mutex<Texts>) -> Vec<(&'static str, String)> {
    held(texts).iter().map(|(name, text)| (*name, text.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_returns_when_every_reason_is_gone() {
        let health = Health::default();
        assert!(health.is_ready());
        health.fail("store", "no answer");
        health.fail("drain", "stopping");
        health.clear("store");
        assert_eq!(health.all(), [("drain", "stopping".to_owned())]);
        assert!(!health.is_ready());
        health.clear("drain");
        assert!(health.is_ready());
    }

    #[test]
    fn what_is_lacking_is_told_and_takes_no_readiness_away() {
        let health = Health::default();
        health.lack("shared", "no answer");
        assert_eq!(health.lacking(), [("shared", "no answer".to_owned())]);
        assert!(health.is_ready() && health.all().is_empty());
        health.regain("shared");
        assert!(health.lacking().is_empty());
    }
}
