//! The trail as CSV (RFC 4180), for programs and for people who open everything with a spreadsheet.
//!
//! Law: no cell is a formula, whatever somebody put into a name or a header: one that could be read as such
//! begins with an apostrophe. Control characters are written out, because readers of CSV stop at some of them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::marker::PhantomData;

use csv::{Terminator, Writer, WriterBuilder};

use super::Form;
use crate::audit::Row;
use crate::trail::entry::{Cell, Record};
use crate::trail::people::Names;

pub(super) struct Csv<R>(PhantomData<R>);

impl<R> Default for Csv<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Record> Form for Csv<R> {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        let mut writer = writer();
        writer.write_record(R::COLUMNS)?;
        bytes(writer)
    }

    fn rows(&mut self, rows: &[Row], names: &Names) -> io::Result<Vec<u8>> {
        let mut writer = writer();
        for row in rows {
            for cell in R::of(row, names).cells() {
                writer.write_field(written(&cell).as_bytes())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        bytes(writer)
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn writer() -> Writer<Vec<u8>> {
    WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new())
}

fn bytes(writer: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

fn written(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Number(number) => number.to_string(),
        Cell::Text(text) => defused(&spelled(text)).into_owned(),
    }
}

/// Text that no spreadsheet takes for a formula. The wide signs are taken for the narrow ones by those
/// that are set up for languages which have them; and those of many languages part cells by semicolons,
/// whatever stands between quotes.
pub(super) fn defused(text: &str) -> Cow<'_, str> {
    let is_sign = |first: char| {
        matches!(first, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
    };
    let is_parting = |c: char| matches!(c, ';' | '\t' | '\r' | '\n');
    let mut out = String::new();
    let mut done = 0;
    if text.starts_with(is_sign) || text.starts_with(['\t', '\r', '\n']) {
        out.push('\'');
    }
    for (at, parting) in text.match_indices(is_parting) {
        let next = at + parting.len();
        if text[next..].trim_start_matches([' ', '"']).starts_with(is_sign) {
            out.push_str(&text[done..next]);
            out.push('\'');
            done = next;
        }
    }
    if out.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(out + &text[done..]) }
}

/// Text without characters that end a reader's line, cell or file where they should not.
fn spelled(text: &str) -> Cow<'_, str> {
    let is_written_out = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n');
    if !text.contains(is_written_out) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_written_out(c) {
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}
