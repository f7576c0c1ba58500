//! The head of an upstream's answer, before anything of it is used.
//!
//! Law: what an upstream says about where its answer ends has one reading, or is not an answer. It
//! says so within the time of one pause, however it drips, and in no more than [`HEAD_MAX`].

use std::pin::pin;
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{self, HeaderMap, HeaderValue};
use memchr::memchr;
use pingora::http::ResponseHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::client::{Client, up};
use crate::gate::framing::is_plain_decimal;

/// Names and values together.
const HEAD_MAX: usize = 64 * 1024;

/// How long a head is waited for.
#[derive(Clone, Copy)]
pub(super) struct Wait {
    /// By a client that is there.
    pub span: Option<Duration>,
    /// When the client leaves, because the answer says what it cost. Zero: not at all.
    pub for_nobody: Duration,
}

impl Wait {
    pub const fn within(self, span: Duration) -> Self {
        Self { span: Some(span), ..self }
    }
}

/// Reads the next head, an informational one or the last. It is there whole within `wait.span`.
pub(super) async fn read_head(client: &mut Client<'_>, upstream: &mut HttpSession, wait: Wait) -> Result<()> {
    // The framework's own begins anew with every byte.
    upstream.set_read_timeout(None);
    await_head(client, upstream, wait).await?;
    upstream.set_read_timeout(wait.span);
    match &*upstream {
        HttpSession::H1(upstream) if says_both(upstream.resp_header(), &upstream.get_headers_raw_bytes()) => {
            Err(doubtful("both lengths"))
        }
        _ => Ok(()),
    }
}

async fn await_head(client: &mut Client<'_>, upstream: &mut HttpSession, wait: Wait) -> Result<()> {
    let mut reading = pin!(async {
        let head = upstream.read_response_header();
        match wait.span {
            None => head.await,
            Some(span) => tokio::time::timeout(span, head)
                .await
                .unwrap_or_else(|_| Error::e_explain(ErrorType::ReadTimedout, "no head in time")),
        }
    });
    let read = client.unless_gone(&mut reading).await;
    let is_left = read.as_ref().is_err_and(|error| *error.esource() == ErrorSource::Downstream);
    if is_left && !wait.for_nobody.is_zero() {
        // It goes on where it was. What was not said by then stays unknown.
        let _ = tokio::time::timeout(wait.for_nobody, reading).await;
    }
    read
}

/// Refuses a head with more than one reading, and takes off a length where no body can be.
///
/// # Errors
/// The upstream's failure.
pub(super) fn check(answer: &mut ResponseHeader) -> Result<()> {
    let headers = &answer.headers;
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > HEAD_MAX {
        return Err(doubtful("a head without end"));
    }
    let (lengths, codings) = (of(headers, &header::CONTENT_LENGTH), of(headers, &header::TRANSFER_ENCODING));
    let has_one_end = match (lengths, codings) {
        (Lines::None, Lines::None) => true,
        (Lines::One(length), Lines::None) => is_plain_decimal(length.as_bytes()),
        // Any other coding would be taken off with the header and left on the body.
        (Lines::None, Lines::One(coding)) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    };
    if !has_one_end {
        return Err(doubtful("an end with more than one reading"));
    }
    // RFC 9110 section 8.6.
    if answer.status.is_informational() || answer.status == StatusCode::NO_CONTENT {
        answer.remove_header(&header::CONTENT_LENGTH);
        answer.remove_header(&header::TRANSFER_ENCODING);
    }
    Ok(())
}

#[expect(clippy::unnecessary_box_returns, reason = "the framework's errors come in boxes")]
fn doubtful(why: &'static str) -> Box<Error> {
    up(Error::explain(ErrorType::InvalidHTTPHeader, why))
}

/// The lines under one name.
enum Lines<'a> {
    None,
    One(&'a HeaderValue),
    Several,
}

fn of<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Lines<'a> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Lines::None,
        (Some(only), None) => Lines::One(only),
        (Some(_), Some(_)) => Lines::Several,
    }
}

/// Whether a head has a length beside its coding, which the framework has taken off by now.
fn says_both(head: Option<&ResponseHeader>, raw: &[u8]) -> bool {
    let is_coded = head.is_some_and(|head| head.headers.contains_key(header::TRANSFER_ENCODING));
    is_coded && raw.split(|&byte| byte == b'\n').any(is_length)
}

fn is_length(line: &[u8]) -> bool {
    memchr(b':', line).is_some_and(|colon| line[..colon].trim_ascii().eq_ignore_ascii_case(b"content-length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(status: u16, fields: &[(&'static str, &str)]) -> Option<ResponseHeader> {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        check(&mut head).ok().map(|()| head)
    }

    #[test]
    fn an_answer_has_one_end() {
        for fields in [
            &[][..],
            &[("content-length", "0")],
            &[("content-length", "12")],
            &[("transfer-encoding", "Chunked")],
        ] {
            assert!(checked(200, fields).is_some(), "{fields:?}");
        }
        for fields in [
            &[("content-length", "3"), ("content-length", "3")][..],
            &[("content-length", "3, 3")],
            &[("content-length", "03")],
            &[("content-length", "+3")],
            &[("content-length", "")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("content-length", "3")],
        ] {
            assert!(checked(200, fields).is_none(), "{fields:?}");
        }
    }

    #[test]
    fn a_length_stands_only_where_a_body_could() {
        let length = |status| {
            checked(status, &[("content-length", "5")]).unwrap().headers.contains_key("content-length")
        };
        assert!(length(200) && length(304) && !length(204) && !length(103));
    }

    #[test]
    fn a_head_is_no_larger_than_its_share() {
        assert!(checked(200, &[("x-long", &"a".repeat(HEAD_MAX - 6))]).is_some());
        assert!(checked(200, &[("x-long", &"a".repeat(HEAD_MAX - 5))]).is_none());
    }

    #[test]
    fn a_length_beside_a_coding_is_found_in_the_raw_head() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        let raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-LENGTH : 3\r\n\r\n";
        assert!(!says_both(Some(&head), raw), "there is no coding");
        head.append_header("transfer-encoding", "chunked").unwrap();
        assert!(says_both(Some(&head), raw));
        assert!(!says_both(Some(&head), b"HTTP/1.1 200 OK\r\nX-Content-Length: 3\r\n\r\n"));
    }
}
