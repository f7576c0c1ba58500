#![no_main]
//! Feeds `read::target` with whatever the fuzzer makes up.

#[path = "../read.rs"]
#[expect(dead_code, reason = "each target calls one of them")]
mod read;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read::target(bytes));
