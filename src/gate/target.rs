//! The path and query of a request in the one form that is routed and forwarded.
//!
//! Law: gate and upstream see the same bytes. What has two readings (dot segments, doubled
//! slashes, encoded separators, path parameters) is refused, never repaired: a repair that the
//! upstream does not make is a bypass. Unreserved `%XX` are decoded once, all others keep their
//! encoding, so nothing is ever decoded twice.

use std::fmt;

use ::http::uri::PathAndQuery;
use bytes::{BufMut, Bytes, BytesMut};

/// Which doubtful spellings a configuration lets through at all. A route may still refuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetRules {
    pub encoded_slash: Doubtful,
    pub params: Doubtful,
    /// In bytes, path and query together.
    pub max: usize,
}

/// What happens to a spelling that some backends read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doubtful {
    #[default]
    Refuse,
    Keep,
}

/// Why a target was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTarget {
    TooLong,
    /// Not a path: absolute-form of another authority, `*`, or no leading slash.
    Form,
    /// A byte that may not stand there, or not UTF-8 once decoded.
    Byte,
    /// `%` without two hexadecimal digits.
    Percent,
    /// `.` or `..` in any spelling.
    DotSegment,
    /// `//`.
    EmptySegment,
    /// `%2f`, `\`, `%5c`.
    Separator,
    /// `;`.
    Params,
}

/// A path and query that has exactly one reading.
#[derive(Clone, PartialEq, Eq)]
pub struct CanonicalTarget {
    text: PathAndQuery,
    has_encoded_slash: bool,
    has_params: bool,
}

impl CanonicalTarget {
    /// Reads an origin-form target.
    ///
    /// # Errors
    /// The first thing that makes the target ambiguous.
    pub fn parse(raw: &[u8], rules: TargetRules) -> Result<Self, BadTarget> {
        if raw.len() > rules.max {
            return Err(BadTarget::TooLong);
        }
        if raw.first() != Some(&b'/') {
            return Err(BadTarget::Form);
        }
        let (path, query) = split(raw);
        let mut scan = Scan::default();
        scan.path(path)?;
        let query_is_plain = check_query(query)?;
        if scan.has_params && rules.params == Doubtful::Refuse {
            return Err(BadTarget::Params);
        }
        let text = if scan.is_plain && query_is_plain {
            Bytes::copy_from_slice(raw)
        } else {
            scan.rewrite(path, query)?
        };
        // What is encoded on the way through may be three times as long.
        if text.len() > rules.max {
            return Err(BadTarget::TooLong);
        }
        if scan.has_encoded_slash && rules.encoded_slash == Doubtful::Refuse {
            return Err(BadTarget::Separator);
        }
        let text = PathAndQuery::from_maybe_shared(text).map_err(|_| BadTarget::Byte)?;
        check_segments(text.path())?;
        Ok(Self { text, has_encoded_slash: scan.has_encoded_slash, has_params: scan.has_params })
    }

    pub fn path(&self) -> &str {
        self.text.path()
    }

    /// Verbatim but for bytes outside ASCII, which are percent-encoded. Never decides anything.
    pub fn query(&self) -> Option<&str> {
        self.text.query()
    }

    /// Path and query: what is sent to the upstream.
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.text
    }

    /// Whether a route with these rules may see this target.
    pub fn fits(&self, rules: TargetRules) -> bool {
        (!self.has_encoded_slash || rules.encoded_slash == Doubtful::Keep)
            && (!self.has_params || rules.params == Doubtful::Keep)
    }

    /// The same query under another path, read again from the start: a rewrite gets no licence.
    ///
    /// # Errors
    /// As [`CanonicalTarget::parse`].
    pub fn with_path(&self, path: &str, rules: TargetRules) -> Result<Self, BadTarget> {
        match self.query() {
            None => Self::parse(path.as_bytes(), rules),
            Some(query) => Self::parse(format!("{path}?{query}").as_bytes(), rules),
        }
    }

    /// The same path with another query.
    ///
    /// # Errors
    /// As [`CanonicalTarget::parse`].
    pub fn with_query(&self, query: Option<&str>, rules: TargetRules) -> Result<Self, BadTarget> {
        match query {
            None => Self::parse(self.path().as_bytes(), rules),
            Some(query) => Self::parse(format!("{}?{query}", self.path()).as_bytes(), rules),
        }
    }
}

/// The query may carry anything; it is not shown.
impl fmt::Debug for CanonicalTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

fn split(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', raw) {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    }
}

/// What one look at the path found.
struct Scan {
    is_plain: bool,
    has_encoded_slash: bool,
    has_params: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self { is_plain: true, has_encoded_slash: false, has_params: false }
    }
}

impl Scan {
    fn path(&mut self, path: &[u8]) -> Result<(), BadTarget> {
        for &byte in path {
            match class(byte) {
                Class::Plain => {}
                Class::Params => self.has_params = true,
                Class::Encode | Class::Percent => self.is_plain = false,
                Class::Backslash => return Err(BadTarget::Separator),
                Class::Never => return Err(BadTarget::Byte),
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, path: &[u8], query: Option<&[u8]>) -> Result<Bytes, BadTarget> {
        let mut out = BytesMut::with_capacity(path.len() + query.map_or(0, |q| q.len() + 1) + 16);
        let mut decoded = Vec::with_capacity(path.len());
        let mut rest = path;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'%' {
                decoded.push(byte);
                put(&mut out, byte, class(byte) != Class::Encode);
                continue;
            }
            let value = hex_pair(rest)?;
            rest = &rest[2..];
            match value {
                0..=0x1f | 0x7f => return Err(BadTarget::Byte),
                b'\\' => return Err(BadTarget::Separator),
                b'/' => self.has_encoded_slash = true,
                _ => {}
            }
            decoded.push(value);
            put(&mut out, value, is_unreserved(value));
        }
        // Overlong and stray bytes read differently from one backend to the next.
        std::str::from_utf8(&decoded).map_err(|_| BadTarget::Byte)?;
        if let Some(query) = query {
            out.put_u8(b'?');
            for &byte in query {
                put(&mut out, byte, byte.is_ascii());
            }
        }
        Ok(out.freeze())
    }
}

fn put(out: &mut BytesMut, byte: u8, as_is: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if as_is {
        out.put_u8(byte);
    } else {
        out.put_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

fn hex_pair(rest: &[u8]) -> Result<u8, BadTarget> {
    let digit = |at: usize| rest.get(at).and_then(|&b| char::from(b).to_digit(16));
    let (high, low) = digit(0).zip(digit(1)).ok_or(BadTarget::Percent)?;
    u8::try_from(high * 16 + low).map_err(|_| BadTarget::Percent)
}

/// Returns whether the query can be kept byte for byte.
fn check_query(query: Option<&[u8]>) -> Result<bool, BadTarget> {
    let mut is_plain = true;
    for &byte in query.unwrap_or_default() {
        match byte {
            0..=0x20 | 0x7f | b'#' => return Err(BadTarget::Byte),
            0x80.. => is_plain = false,
            _ => {}
        }
    }
    Ok(is_plain)
}

/// `path` is canonical text by now: unreserved bytes stand decoded, hexadecimal is upper case.
fn check_segments(path: &str) -> Result<(), BadTarget> {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(BadTarget::EmptySegment);
        }
        // `..;x`, `..%2F` and `x%2F..` climb in backends that cut parameters or decode slashes.
        if segment.starts_with('.') || segment.contains("%2F.") {
            let climbs = |part: &str| part == "." || part == "..";
            let cut = |part: &str| climbs(part.split(';').next().unwrap_or(part));
            if segment.split("%2F").any(cut) {
                return Err(BadTarget::DotSegment);
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Percent,
    Params,
    /// Legal only percent-encoded; some clients send it raw.
    Encode,
    Backslash,
    Never,
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

static CLASSES: [Class; 256] = {
    let mut table = [Class::Never; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let value = byte as u8;
        table[byte] = match value {
            b'%' => Class::Percent,
            b';' => Class::Params,
            b'\\' => Class::Backslash,
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' | 0x80.. => Class::Encode,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'/' | b':' | b'=' | b'@' => {
                Class::Plain
            }
            _ if is_unreserved(value) => Class::Plain,
            _ => Class::Never,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
