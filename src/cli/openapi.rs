//! `portcullis openapi`: the document of the built-in API, made from the endpoints themselves.
//! It is what `/openapi.json` serves.

use std::path::Path;

use super::open;
use super::out::{Failure, Out};
use crate::server;

/// Prints it, for the prefix and the public URL of the configuration.
pub fn run(path: &Path, out: &mut Out) -> Result<(), Failure> {
    out.json(&server::document(&open::config(path)?.config))
}
