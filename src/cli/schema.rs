//! `portcullis schema`: the JSON Schema of the configuration, for editors.
//! It is generated from the types that read the file.

use super::out::{Failure, Out};

/// Prints it.
pub fn run(out: &mut Out) -> Result<(), Failure> {
    out.json(&crate::config::schema())
}
