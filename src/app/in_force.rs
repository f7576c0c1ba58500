//! The definitions in force: one compiled catalogue, replaced as a whole.
//!
//! Law: whoever replaces it reads first and puts in force second, one at a time, so that an older
//! reading never takes the place of a newer one. Generations only grow.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, MutexGuard};

use crate::policy::Catalogue;
use crate::policy::definition::Definitions;
use crate::policy::seed;

/// What permissions, roles and groups mean now.
pub struct InForce {
    catalogue: ArcSwap<Catalogue>,
    /// What the configuration file lays over the store.
    overlay: Mutex<Definitions>,
}

/// The right to replace the catalogue, held by one at a time.
pub struct Turn<'a> {
    catalogue: &'a ArcSwap<Catalogue>,
    overlay: MutexGuard<'a, Definitions>,
}

impl InForce {
    /// What came with the gateway, under what the configuration file says. What the store has is
    /// read by `rbac`.
    pub fn under(overlay: Definitions) -> Self {
        let catalogue = Catalogue::build(seed::definitions().under(&overlay), 1);
        Self { catalogue: ArcSwap::from_pointee(catalogue), overlay: Mutex::new(overlay) }
    }

    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Waits for whoever replaces the catalogue now. Read the store after this, not before.
    pub async fn turn(&self) -> Turn<'_> {
        Turn { catalogue: &self.catalogue, overlay: self.overlay.lock().await }
    }
}

impl Turn<'_> {
    /// What the configuration file in force says.
    pub fn overlay(&self) -> &Definitions {
        &self.overlay
    }

    /// Compiles `definitions`, which have `overlay` laid over them, and puts them in force.
    pub fn put_in_force(mut self, definitions: Definitions, overlay: Option<Definitions>) {
        if let Some(overlay) = overlay {
            *self.overlay = overlay;
        }
        let generation = self.catalogue.load().generation() + 1;
        self.catalogue.store(Arc::new(Catalogue::build(definitions, generation)));
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("generation", &self.catalogue().generation()).finish()
    }
}
