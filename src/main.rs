//! The `portcullis` program. Everything it does is in the library.
//! The allocator returns what idle connections held, which the system's own keeps.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
