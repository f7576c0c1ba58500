//! The command line: `portcullis COMMAND`, one file per command.
//!
//! Law: a command calls what the rest of the house offers and has no rules of its own. A secret is
//! never an argument, because arguments are public on the machine: it is asked for, or comes in on
//! standard input. Results, remarks and exit codes are as `out` says.

mod completions;
mod out;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use out::{Failure, Out, note};

/// An authentication gateway: a reverse proxy that knows who is calling
///
/// Start with `portcullis demo`, which needs no configuration and prints calls to try. For a gateway of
/// your own: `portcullis init`, then `portcullis run`.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Completions(completions::Completions),
}

/// Every command as clap knows it, for completions and for the test of the documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli, &mut Out::standard()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Failure::Problem(text) = &failure {
                note(format_args!("portcullis: {text}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli, out: &mut Out) -> Result<(), Failure> {
    match cli.command {
        Command::Completions(command) => command.run(out),
    }
}
