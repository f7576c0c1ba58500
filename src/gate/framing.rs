//! The strict look at the raw head of an HTTP/1 request.
//!
//! Law: where two parsers could disagree about where a request ends, it goes no further and its
//! connection ends. The proxy's own parser has already repaired or dropped some of this (a
//! `Content-Length` beside `Transfer-Encoding`, bare line feeds), so only the raw bytes tell.

use memchr::memchr;

/// Why the frame of a request is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFraming {
    /// A line that does not end in CR LF, or an empty line before the request.
    LineEnd,
    /// Not `METHOD SP target SP HTTP/1.x`.
    RequestLine,
    /// Not exactly one plain decimal.
    ContentLength,
    /// Anything but exactly one `chunked`.
    TransferEncoding,
    /// Both lengths at once: the seed of request smuggling.
    BothLengths,
}

/// Checks the raw head, from the first byte to the empty line, both included.
///
/// # Errors
/// The first thing about which two parsers could disagree.
pub fn scan(raw: &[u8]) -> Result<(), BadFraming> {
    let mut rest = raw;
    request_line(line(&mut rest)?)?;
    let mut lengths = 0;
    let mut encodings = 0;
    loop {
        let field = line(&mut rest)?;
        if field.is_empty() {
            break;
        }
        let Some(colon) = memchr(b':', field) else { return Err(BadFraming::LineEnd) };
        let (name, value) = (&field[..colon], &field[colon + 1..]);
        if name.len() == "content-length".len() && name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            if !is_plain_decimal(value) {
                return Err(BadFraming::ContentLength);
            }
        } else if name.len() == "transfer-encoding".len() && name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
            if !value.strip_prefix(b" ").unwrap_or(value).eq_ignore_ascii_case(b"chunked") {
                return Err(BadFraming::TransferEncoding);
            }
        }
    }
    match (lengths, encodings) {
        (0 | 1, 0) | (0, 1) => Ok(()),
        (_, 0) => Err(BadFraming::ContentLength),
        (0, _) => Err(BadFraming::TransferEncoding),
        _ => Err(BadFraming::BothLengths),
    }
}

/// Takes one line off the front, without its CR LF.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BadFraming> {
    let end = memchr(b'\n', rest).ok_or(BadFraming::LineEnd)?;
    let (taken, after) = rest.split_at(end);
    *rest = &after[1..];
    taken.strip_suffix(b"\r").ok_or(BadFraming::LineEnd)
}

fn request_line(line: &[u8]) -> Result<(), BadFraming> {
    let mut parts = line.split(|&byte| byte == b' ');
    let whole = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(target), Some(b"HTTP/1.1" | b"HTTP/1.0"), None) => {
            // A fragment is never sent; the parser would cut it and route what is left.
            !method.is_empty() && !target.is_empty() && memchr(b'#', target).is_none()
        }
        _ => false,
    };
    if whole { Ok(()) } else { Err(BadFraming::RequestLine) }
}

/// At most one blank, then digits without sign or leading zero, fewer than 2^63.
pub fn is_plain_decimal(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b" ").unwrap_or(value);
    let is_short = (1..=18).contains(&digits.len());
    let has_one_form = digits == b"0" || digits.first() != Some(&b'0');
    is_short && has_one_form && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Result<(), BadFraming> {
        scan(format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes())
    }

    #[test]
    fn one_clean_frame_passes() {
        for fields in [
            "",
            "Content-Length: 3\r\n",
            "content-length:0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "transfer-encoding:Chunked\r\nX: y\r\n",
        ] {
            assert_eq!(head(fields), Ok(()), "{fields:?}");
        }
    }

    #[test]
    fn a_content_length_that_two_parsers_could_read_differently_is_refused() {
        let huge = "9".repeat(19);
        for value in [
            " +3", " -1", " 0x3", " 3_0", " 003", " 3 3", " 3, 3", "", " ", "  3", " 3\t", "\x0b3", &huge,
            " 3 ",
        ] {
            assert_eq!(
                head(&format!("Content-Length:{value}\r\n")),
                Err(BadFraming::ContentLength),
                "{value:?}"
            );
        }
        for second in ["3", "4"] {
            let fields = format!("Content-Length: 3\r\nContent-Length: {second}\r\n");
            assert_eq!(head(&fields), Err(BadFraming::ContentLength));
        }
    }

    #[test]
    fn any_coding_but_chunked_alone_is_refused() {
        for value in [
            "xchunked",
            "gzip, chunked",
            "chunked, identity",
            "identity",
            ",chunked",
            "\x0bchunked",
            "chunked ",
        ] {
            let fields = format!("Transfer-Encoding: {value}\r\n");
            assert_eq!(head(&fields), Err(BadFraming::TransferEncoding), "{value:?}");
        }
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(head(twice), Err(BadFraming::TransferEncoding));
        let both = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(head(both), Err(BadFraming::BothLengths));
    }

    #[test]
    fn lines_end_in_cr_lf_and_nothing_stands_before_the_request() {
        for raw in [
            "GET /a HTTP/1.1\nHost: a\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a\n\r\n",
            "GET /a HTTP/1.1\r\nHost: a\r\n\n",
            "GET /a HTTP/1.1\r\nHost: a\r\n",
        ] {
            assert_eq!(scan(raw.as_bytes()), Err(BadFraming::LineEnd), "{raw:?}");
        }
        for line in [
            "\r\nGET /a HTTP/1.1",
            "GET /a HTTP/1.1 ",
            "GET  /a HTTP/1.1",
            "GET /a",
            "GET /a b HTTP/1.1",
            "GET /a HTTP/1.2",
            "GET /a HTTP/01.1",
            "GET /a#/b HTTP/1.1",
            " /a HTTP/1.1",
        ] {
            let raw = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(scan(raw.as_bytes()), Err(BadFraming::RequestLine), "{line:?}");
        }
    }
}
