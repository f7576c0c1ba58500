//! The trail as JSON: one array, an entry per line, each as the endpoint of the list shows it.
//! Law: cut off anywhere, it is no JSON.

use std::io;

use super::Form;
use crate::trail::entry::Entry;

#[derive(Default)]
pub(super) struct Json {
    has_some: bool,
}

impl Form for Json {
    fn begin(&mut self) -> io::Result<Vec<u8>> {
        Ok(b"[".to_vec())
    }

    fn rows(&mut self, entries: &[Entry]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(entries.len() * 512);
        for entry in entries {
            out.extend_from_slice(if self.has_some { b",\n" } else { b"\n" });
            self.has_some = true;
            serde_json::to_writer(&mut out, entry)?;
        }
        Ok(out)
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        Ok(b"\n]\n".to_vec())
    }
}
