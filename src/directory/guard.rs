//! Measures what a directory sends, before anything else reads it (RFC 4511 section 5.1, BER).
//!
//! Law: a message has a known length that is short, and its parts lie no deeper in each other than
//! those of any answer that is asked for. The library that reads it after us bounds neither.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message: an entry with the few attributes that are asked for is a hundredth of it.
const MESSAGE_MAX: usize = 64 << 10;
/// How deep parts of an answer lie: message, entry, attributes, attribute, values, value.
const DEPTH_MAX: usize = 8;
const SEQUENCE: u8 = 0x30;
const CONSTRUCTED: u8 = 0x20;
/// A tag that goes on in the next byte.
const LONG_TAG: u8 = 0x1f;

const NOT_LDAP: &str = "it sends what is no LDAP";

/// The next message, whole; `None` where the directory hung up in between two.
pub(super) async fn message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; 2];
    if from.read(&mut message[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut message[1..]).await?;
    let length = match message[1] {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            message.resize(2 + usize::from(long - 0x80), 0);
            from.read_exact(&mut message[2..]).await?;
            message[2..].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        }
        _ => return Err(bad()),
    };
    if message[0] != SEQUENCE || length > MESSAGE_MAX {
        return Err(bad());
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..]).await?;
    if nests(&message[head..], DEPTH_MAX - 1) { Ok(Some(message)) } else { Err(bad()) }
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NOT_LDAP)
}

/// The first part of some bytes: its tag, what it holds, and what comes after it.
pub(super) fn part(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long - 0x80))?;
            (digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    (tag & LONG_TAG != LONG_TAG).then_some((tag, content, rest))
}

/// Whether the bytes are parts to the end, and lie in each other no deeper than so.
fn nests(mut bytes: &[u8], deep: usize) -> bool {
    while !bytes.is_empty() {
        let Some((tag, content, rest)) = part(bytes) else { return false };
        if tag & CONSTRUCTED != 0 && (deep == 0 || !nests(content, deep - 1)) {
            return false;
        }
        bytes = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A part that holds others.
    fn around(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84], &length[..], content].concat()
    }

    async fn read(bytes: &[u8]) -> Result<usize, io::ErrorKind> {
        let mut from = bytes;
        let read = message(&mut from).await.map_err(|error| error.kind())?;
        Ok(read.map_or(0, |message| message.len()))
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_end_and_no_further() {
        let success = [0x30, 0x0c, 2, 1, 1, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0];
        assert_eq!(read(&[&success[..], b"more"].concat()).await, Ok(success.len()));
        assert_eq!(read(&[]).await, Ok(0), "it hung up");
        assert_eq!(read(&success[..9]).await, Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(&around(0x30, &success[2..])).await, Ok(success.len() + 4), "a long length");
    }

    #[tokio::test]
    async fn what_is_too_long_too_deep_or_no_message_is_refused() {
        let mut deep = vec![2, 1, 1];
        for _ in 0..DEPTH_MAX {
            deep = around(0x30, &deep);
        }
        assert!(read(&around(0x30, &deep)).await.is_err());
        assert!(read(&deep).await.is_ok());
        let long = around(0x30, &around(4, &vec![0; MESSAGE_MAX]));
        for bytes in [
            &long[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
        ] {
            assert_eq!(read(bytes).await, Err(io::ErrorKind::InvalidData), "{:?}", &bytes[..4]);
        }
        let lying = [0x30, 5, 2, 1, 1, 0x61, 9];
        assert_eq!(read(&lying).await, Err(io::ErrorKind::InvalidData), "a part longer than what it lies in");
        // 4 GB that never come are not waited for, let alone made room for.
        assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).await, Err(io::ErrorKind::InvalidData));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            let _ = nests(&bytes, DEPTH_MAX);
        }
    }
}
