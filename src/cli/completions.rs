//! `portcullis completions SHELL`: the completion script, generated from the commands themselves.
//! It is written whole or not at all.

use clap_complete::Shell;

use super::out::{Failure, Out};

/// Print the completion script for a shell
///
/// For bash: portcullis completions bash > /etc/bash_completion.d/portcullis
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// The shell to write it for
    shell: Shell,
}

impl Completions {
    pub fn run(&self, out: &mut Out) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "portcullis", &mut script);
        out.line(String::from_utf8_lossy(&script).trim_end())
    }
}
