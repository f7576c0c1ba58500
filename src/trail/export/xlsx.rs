//! The trail as a spreadsheet (ECMA-376): sheets written as they are read, into a zip that is never whole.
//!
//! Law: text is text and stays text when a cell is edited; nothing in a workbook is a formula, a link or a
//! macro. Where a sheet is full the next one begins. What is too long for a cell says that it was cut.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::Form;
use crate::audit::Row;
use crate::trail::entry::{Cell, Record};
use crate::trail::people::Names;

/// Rows that a sheet has at most, its heading among them.
const ROWS: u32 = 1_048_576;
/// Bytes of a sheet's text: from 4 GiB on a part of a zip needs numbers that old readers do not know.
const BYTES: u64 = 2 << 30;
/// What a cell holds, in UTF-16 units.
const CELL: usize = 32_767;
const CUT: &str = "… (cut)";

const DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
/// A sheet is what every part is that is not named: how many there will be is not known when this is written.
const TYPES: &str = r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/></Types>"#;
const ROOT: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
/// The second style is text (number format 49) and the third a heading.
const STYLES: &str = r#"<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/><xf numFmtId="49" fontId="1" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" applyFont="1"/></cellXfs></styleSheet>"#;
const SHEET: &str = r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData>"#;
const SHEET_END: &str = "</sheetData></worksheet>";
const TEXT: u8 = 1;
const HEADING: u8 = 2;

/// What the zip has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Spout(Arc<Mutex<Vec<u8>>>);

impl Spout {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Spout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Xlsx<R> {
    zip: ZipWriter<StreamWriter<Spout>>,
    spout: Spout,
    sheets: u32,
    /// Of the sheet that is being written.
    rows: u32,
    bytes: u64,
    most_rows: u32,
    of: PhantomData<R>,
}

impl<R: Record> Default for Xlsx<R> {
    fn default() -> Self {
        Self::with_sheets_of(ROWS)
    }
}

impl<R: Record> Xlsx<R> {
    pub(super) fn with_sheets_of(most_rows: u32) -> Self {
        let spout = Spout::default();
        let zip = ZipWriter::new_stream(spout.clone());
        Self { zip, spout, sheets: 0, rows: 0, bytes: 0, most_rows, of: PhantomData }
    }

    fn part(&mut self, name: &str, text: &[&str]) -> io::Result<()> {
        // No time of its own: the same rows are the same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default());
        self.zip.start_file(name, options)?;
        text.iter().try_for_each(|text| self.zip.write_all(text.as_bytes()))
    }

    fn begin_sheet(&mut self) -> io::Result<()> {
        self.sheets += 1;
        (self.rows, self.bytes) = (0, 0);
        self.part(&format!("xl/worksheets/sheet{}.xml", self.sheets), &[DECLARATION, SHEET])?;
        let heading: Vec<Cell<'_>> = R::COLUMNS.iter().map(|name| Cell::Text((*name).into())).collect();
        self.row(&heading, HEADING)
    }

    fn row(&mut self, cells: &[Cell<'_>], style: u8) -> io::Result<()> {
        self.rows += 1;
        let mut out = format!("<row r=\"{}\">", self.rows);
        for (cell, column) in cells.iter().zip('A'..='Z') {
            let place = format_args!("{column}{}", self.rows);
            // Writing into a text does not fail.
            let _ = match cell {
                Cell::Nothing => Ok(()),
                Cell::Number(number) => write!(out, "<c r=\"{place}\"><v>{number}</v></c>"),
                Cell::Text(text) => write!(
                    out,
                    "<c r=\"{place}\" s=\"{style}\" t=\"inlineStr\"><is><t xml:space=\"preserve\">{}</t></is></c>",
                    spelled(fitted(text).as_ref())
                ),
            };
        }
        out.push_str("</row>");
        self.bytes += u64::try_from(out.len()).unwrap_or(u64::MAX);
        self.zip.write_all(out.as_bytes())
    }

    fn is_full(&self) -> bool {
        self.rows >= self.most_rows || self.bytes >= BYTES
    }
}

impl<R: Record> Form for Xlsx<R> {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        self.part("[Content_Types].xml", &[DECLARATION, TYPES])?;
        self.part("_rels/.rels", &[DECLARATION, ROOT])?;
        self.part("xl/styles.xml", &[DECLARATION, STYLES])?;
        self.begin_sheet()?;
        Ok(self.spout.take())
    }

    fn rows(&mut self, rows: &[Row], names: &Names) -> io::Result<Vec<u8>> {
        for row in rows {
            if self.is_full() {
                self.zip.write_all(SHEET_END.as_bytes())?;
                self.begin_sheet()?;
            }
            self.row(&R::of(row, names).cells(), TEXT)?;
        }
        Ok(self.spout.take())
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        self.zip.write_all(SHEET_END.as_bytes())?;
        let (mut sheets, mut relations) = (String::new(), String::new());
        for number in 1..=self.sheets {
            let name = if number == 1 { "Audit".to_owned() } else { format!("Audit {number}") };
            let _ = write!(sheets, r#"<sheet name="{name}" sheetId="{number}" r:id="rId{number}"/>"#);
            let _ = write!(
                relations,
                r#"<Relationship Id="rId{number}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet{number}.xml"/>"#
            );
        }
        let workbook = format!(
            r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>{sheets}</sheets></workbook>"#
        );
        let styles = self.sheets + 1;
        let relations = format!(
            r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relations}<Relationship Id="rId{styles}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#
        );
        self.part("xl/workbook.xml", &[DECLARATION, &workbook])?;
        self.part("xl/_rels/workbook.xml.rels", &[DECLARATION, &relations])?;
        // Also writes the list of parts at the end; what follows is nothing.
        let zip = std::mem::replace(&mut self.zip, ZipWriter::new_stream(Spout::default()));
        zip.finish()?;
        Ok(self.spout.take())
    }
}

/// Text that a cell holds.
fn fitted(text: &str) -> std::borrow::Cow<'_, str> {
    let mut units = 0;
    // Room for the words that say so.
    let room = CELL - CUT.encode_utf16().count();
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        if units <= room && units + c.len_utf16() > room {
            end = at;
        }
        units += c.len_utf16();
        if units > CELL {
            return format!("{}{CUT}", &text[..end]).into();
        }
    }
    text.into()
}

/// Text as it stands between tags. What XML cannot hold is spelled as spreadsheets do, `_x0000_`, and what
/// only looks like that has its first sign spelled.
fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for (at, c) in text.char_indices() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '_' if is_spelling(&text[at..]) => out.push_str("_x005F_"),
            '\t' | '\n' => out.push(c),
            c if c.is_ascii_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(out, "_x{:04X}_", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether this begins as `_x0041_` does.
fn is_spelling(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 7 && bytes[1] == b'x' && bytes[6] == b'_' && bytes[2..6].iter().all(u8::is_ascii_hexdigit)
}
