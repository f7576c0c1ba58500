//! Changes to the JSON object of a call.
//!
//! Law: what is not changed stays to the byte, its order too: models read both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::value::RawValue;

/// The same object with these members: in place where they stand, else in front. `None` where it is
/// no object.
pub(super) fn with_members(body: &Bytes, changes: &[(&str, String)]) -> Option<Bytes> {
    if changes.is_empty() {
        return Some(body.clone());
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let mut added = String::new();
    let mut pieces = Vec::new();
    for (name, value) in changes {
        match members.get(*name) {
            Some(known) => {
                let from = known.get().as_ptr().addr() - body.as_ptr().addr();
                pieces.push((from, from + known.get().len(), value.as_str()));
            }
            None => write!(added, "\"{name}\":{value},").ok()?,
        }
    }
    let front = memchr::memchr(b'{', body)? + 1;
    pieces.push((front, front, added.as_str()));
    pieces.sort_unstable();
    let mut whole = Vec::with_capacity(body.len() + 128);
    let mut from = 0;
    for (begin, end, text) in pieces {
        whole.extend_from_slice(&body[from..begin]);
        whole.extend_from_slice(text.as_bytes());
        from = end;
    }
    whole.extend_from_slice(&body[from..]);
    Some(Bytes::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_to_the_byte() {
        let body = Bytes::from_static(b" { \"z\" : 0.10, \"\\u0061\":null ,\"b\": [ {\"a\":1} ]}\n");
        let changed = with_members(&body, &[("a", "7".to_owned()), ("c", "{}".to_owned())]).unwrap();
        assert_eq!(changed, " {\"c\":{}, \"z\" : 0.10, \"\\u0061\":7 ,\"b\": [ {\"a\":1} ]}\n");
        assert_eq!(with_members(&body, &[]), Some(body));
        assert_eq!(with_members(&Bytes::from_static(b"[1]"), &[("a", "1".to_owned())]), None);
    }
}
