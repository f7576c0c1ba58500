//! Health: whether this process should be given traffic, and if not, why.
//!
//! Law: each reason has a name and one owner, who sets and clears it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The reasons not to be ready. None is ready.
#[derive(Debug, Default)]
pub struct Health {
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl Health {
    /// Not ready because of `name`, until [`Health::clear`]. The text is for operators.
    pub fn fail(&self, name: &'static str, text: impl Into<String>) {
        self.reasons().insert(name, text.into());
    }

    pub fn clear(&self, name: &'static str) {
        self.reasons().remove(name);
    }

    pub fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Every reason with its text, by name.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        self.reasons().iter().map(|(name, text)| (*name, text.clone())).collect()
    }

    fn reasons(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
}
