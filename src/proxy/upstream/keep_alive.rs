//! How long a server keeps a connection that nobody uses, where it says so.
//!
//! Law: we let go first. A request on a connection that its server closes in the same moment is lost,
//! and one that must not be repeated fails with it.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// What is on its way when the server's time is over: its last answer, or our next request.
const MARGIN: Duration = Duration::from_secs(1);
/// Longer than anybody means it.
const LONGEST: u64 = 24 * 60 * 60;

/// How long a connection may wait after an answer with these headers; `None` when it does not say.
pub(super) fn kept_for(answer: &HeaderMap) -> Option<Duration> {
    let text = answer.get(KEEP_ALIVE)?.to_str().ok()?;
    let mut parameters = text.rsplit(',').filter_map(|parameter| parameter.split_once('='));
    let (_, timeout) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    let seconds: u64 = timeout.trim().parse().ok()?;
    let said = Duration::from_secs(seconds.min(LONGEST));
    Some(said.saturating_sub(MARGIN.min(said / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_let_go_before_its_server_does() {
        for (text, millis) in [
            ("timeout=5", Some(4000)),
            ("timeout=5, max=100", Some(4000)),
            ("max=100,Timeout = 2", Some(1000)),
            ("timeout=1", Some(500)),
            ("timeout=0", Some(0)),
            ("timeout=99999999999", Some((LONGEST - 1) * 1000)),
            ("max=5", None),
            ("timeout=-1", None),
            ("timeout=x", None),
            ("", None),
        ] {
            let mut answer = HeaderMap::new();
            answer.insert(KEEP_ALIVE, text.parse().unwrap());
            assert_eq!(kept_for(&answer), millis.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(kept_for(&HeaderMap::new()), None);
    }
}
