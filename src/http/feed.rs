//! `Feed`: the part of an answer that is made while it is sent, because it is too long to be held.
//!
//! Law: nothing is made before it can be sent, so that an answer of any length takes the memory of one
//! piece. A feed that fails is cut off where it is; nobody takes what came for the whole.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

type Pieces = BoxStream<'static, Result<Bytes, Cut>>;

/// Pieces in their order. Clones share them: they are sent once.
#[derive(Clone)]
pub struct Feed(Arc<Mutex<Option<Pieces>>>);

/// Why a feed ended before its end. The cause is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub cause: String,
}

impl Cut {
    pub fn because(cause: impl fmt::Display) -> Self {
        Self { cause: cause.to_string() }
    }
}

impl Feed {
    /// Asks `next` for a piece whenever one can be sent, until there is none.
    pub fn new<S, N, Asked>(state: S, next: N) -> Self
    where
        S: Send + 'static,
        N: Fn(S) -> Asked + Send + 'static,
        Asked: Future<Output = Result<Option<(Bytes, S)>, Cut>> + Send + 'static,
    {
        Self(Arc::new(Mutex::new(Some(stream::try_unfold(state, next).boxed()))))
    }

    /// The pieces.
    #[must_use]
    pub fn into_stream(self) -> Pieces {
        let pieces = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || stream::once(std::future::ready(Err(Cut::because("it was sent already")))).boxed();
        pieces.unwrap_or_else(gone)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Feed")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn nothing_is_made_before_it_is_asked_for_and_a_cut_is_the_end() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let feed = Feed::new(0_u8, move |number| {
            count.fetch_add(1, Ordering::SeqCst);
            let next = match number {
                2 => Err(Cut::because("the store is away")),
                number => Ok(Some((Bytes::from(vec![number]), number + 1))),
            };
            std::future::ready(next)
        });
        let mut pieces = feed.clone().into_stream();
        assert!(
            feed.into_stream().next().await.unwrap().is_err(),
            "what was sent is not there for another one"
        );
        assert_eq!(made.load(Ordering::SeqCst), 0);
        assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from_static(&[0]));
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(pieces.next().await.unwrap().unwrap(), Bytes::from_static(&[1]));
        assert_eq!(pieces.next().await.unwrap().unwrap_err().cause, "the store is away");
        assert!(pieces.next().await.is_none());
    }
}
