//! The `portcullis` program.
//! Everything it does is in the library; this file only starts it.

fn main() {}
