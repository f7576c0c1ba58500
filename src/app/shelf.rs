//! What later rooms keep for the life of the process: one value of each type.
//!
//! Law: `App` cannot name the types that come later in the list, so they are found by their type.
//! What is kept is a means (a client, what was read elsewhere), never a fact about this store.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// One value of each type.
#[derive(Default)]
pub struct Shelf(RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Shelf {
    /// The value of this type, which is made at the first call.
    pub fn of<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let kind = TypeId::of::<T>();
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
        if let Some(found) = found.and_then(|found| found.downcast().ok()) {
            return found;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry(kind).or_insert_with(|| Arc::new(T::default()));
        // What lies under a type is of that type.
        Arc::clone(kept).downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn each_type_has_one_value() {
        let shelf = Shelf::default();
        *shelf.of::<Mutex<u32>>().lock().unwrap() = 7;
        assert_eq!(*shelf.of::<Mutex<u32>>().lock().unwrap(), 7);
        assert_eq!(*shelf.of::<Mutex<u64>>().lock().unwrap(), 0);
    }
}
