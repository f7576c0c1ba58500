//! The trail as JSON: one array, an entry per line, each as the endpoint of the list shows it.
//! Law: cut off anywhere, it is no JSON.

use std::io;
use std::marker::PhantomData;

use super::Form;
use crate::audit::Row;
use crate::trail::entry::Record;
use crate::trail::people::Names;

pub(super) struct Json<R> {
    has_some: bool,
    of: PhantomData<R>,
}

impl<R> Default for Json<R> {
    fn default() -> Self {
        Self { has_some: false, of: PhantomData }
    }
}

impl<R: Record> Form for Json<R> {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(b"[".to_vec())
    }

    fn rows(&mut self, rows: &[Row], names: &Names) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(rows.len() * 512);
        for row in rows {
            out.extend_from_slice(if self.has_some { b",\n" } else { b"\n" });
            self.has_some = true;
            serde_json::to_writer(&mut out, &R::of(row, names))?;
        }
        Ok(out)
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        Ok(b"\n]\n".to_vec())
    }
}
