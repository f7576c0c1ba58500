//! Trying once more what a database gave up in favour of others.
//!
//! Law: the whole of it is tried again, reading and deciding included, in a new transaction: what
//! was read in the one that was given up may no longer be so. So many times and no longer; who
//! waited for a lock in vain has waited enough.

use std::time::{Duration, Instant};

use super::Error;

const TRIES: u32 = 8;
/// No try begins later than this after the first.
const WITHIN: Duration = Duration::from_secs(4);
/// Longer before each further try, so that those who met do not meet again.
const PAUSE: Duration = Duration::from_millis(3);

/// An error that may say that a transaction was given up.
pub trait GivenUp {
    fn is_given_up(&self) -> bool;
}

impl GivenUp for Error {
    fn is_given_up(&self) -> bool {
        *self == Self::Busy
    }
}

/// Does `work`, and does it again where its transaction was given up for another one.
///
/// # Errors
/// Those of the last try.
pub async fn again<T, E: GivenUp, W>(mut work: impl FnMut() -> W) -> Result<T, E>
where
    W: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    for tries in 1..TRIES {
        match work().await {
            Err(error) if error.is_given_up() && began.elapsed() < WITHIN => {
                tokio::time::sleep(PAUSE * tries).await;
            }
            done => return done,
        }
    }
    work().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_is_tried_again_and_nothing_else_is() {
        let tries = Cell::new(0);
        let fails = |times: u32, error: Error| {
            tries.set(0);
            let tries = &tries;
            again(move || {
                tries.set(tries.get() + 1);
                let outcome = if tries.get() > times { Ok(()) } else { Err(error.clone()) };
                async move { outcome }
            })
        };
        assert_eq!(fails(3, Error::Busy).await, Ok(()));
        assert_eq!(tries.get(), 4);
        assert_eq!(fails(99, Error::Busy).await, Err(Error::Busy));
        assert_eq!(tries.get(), TRIES);
        let conflict = Error::Conflict("a_key".to_owned());
        assert_eq!(fails(3, conflict.clone()).await, Err(conflict));
        assert_eq!(tries.get(), 1);
    }
}
