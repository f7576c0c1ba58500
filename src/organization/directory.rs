//! Which organization a slug names, and what lies above it, remembered while it is true.
//!
//! Law: an entry counts only while the epochs of the organization and of all above it are what they
//! were before it was read. A slug that names nothing is not remembered.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{DEEPEST, Organization, store};
use crate::app::{App, Epochs};
use crate::audit::Subject;
use crate::base::{Id, Slug};
use crate::store::{Error, Source};

/// Organizations remembered at once.
const ROOM: usize = 10_000;

/// An active organization and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    pub organization: Organization,
    /// The active organizations above it, nearest first. One that is not active ends the list.
    pub above: Vec<Id>,
}

#[derive(Debug)]
struct Entry {
    place: Arc<Place>,
    epochs: Vec<(Id, i64)>,
}

impl Entry {
    fn is_current(&self, epochs: &Epochs) -> bool {
        self.epochs.iter().all(|(id, epoch)| epochs.of(Subject::Organization(*id)) == *epoch)
    }
}

/// The organizations that requests named lately.
#[derive(Debug)]
pub struct Directory(Cache<(Id, Slug), Arc<Entry>>);

impl Default for Directory {
    fn default() -> Self {
        Self(Cache::new(ROOM))
    }
}

impl Directory {
    /// The active organization of this slug; no I/O where it was asked for lately and nothing
    /// has changed.
    pub async fn by_slug(&self, app: &App, site: Id, slug: &Slug) -> Result<Option<Arc<Place>>, Error> {
        let key = (site, slug.clone());
        if let Some(known) = self.0.get(&key)
            && known.is_current(&app.epochs)
        {
            return Ok(Some(Arc::clone(&known.place)));
        }
        // Twice: whose epochs matter is known only after the first reading.
        let Some(first) = read(&app.db, site, slug).await? else { return Ok(None) };
        let epoch = |id: &Id| (*id, app.epochs.of(Subject::Organization(*id)));
        let epochs: Vec<_> = std::iter::once(&first.organization.id).chain(&first.above).map(epoch).collect();
        let Some(place) = read(&app.db, site, slug).await? else { return Ok(None) };
        let place = Arc::new(place);
        if *place == first {
            self.0.insert(key, Arc::new(Entry { place: Arc::clone(&place), epochs }));
        }
        Ok(Some(place))
    }
}

pub(super) async fn read(mut src: impl Source, site: Id, slug: &Slug) -> Result<Option<Place>, Error> {
    let Some(organization) = store::by_slug(&mut src, site, slug).await? else { return Ok(None) };
    let mut above = Vec::new();
    let mut next = organization.parent;
    while let Some(id) = next {
        let parent = store::by_id(&mut src, id).await?;
        let Some(parent) = parent.filter(|parent| parent.is_active) else { break };
        if above.len() == DEEPEST {
            return Err(Error::Broken { cause: "organizations that are above each other".into() });
        }
        above.push(id);
        next = parent.parent;
    }
    Ok(Some(Place { organization, above }))
}
