//! The command line: `portcullis COMMAND`, one file per command.
//!
//! Law: a command calls what the rest of the house offers and has no rules of its own. A secret is
//! never an argument, because arguments are public on the machine: it is asked for, or comes in on
//! standard input. Results, remarks and exit codes are as `out` says.

mod agent;
mod apikey;
mod app;
mod approvals;
mod audit;
mod backup;
mod check;
mod completions;
mod decisions;
mod definition;
mod demo;
mod doctor;
mod explain;
mod group;
mod import;
mod init;
mod keys;
mod log;
mod migrate;
mod office;
mod open;
mod openapi;
mod org;
mod out;
mod password;
mod permission;
mod restore;
mod role;
mod routes;
mod run;
mod schema;
mod stats;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use out::{Failure, Out, note};

/// An authentication gateway: a reverse proxy that knows who is calling
///
/// `portcullis demo` shows everything at work with nothing to set up. For a gateway of your own: `portcullis
/// init`, then `portcullis run`.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    /// The configuration file
    #[arg(long, short, global = true, value_name = "FILE", default_value = "portcullis.yaml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Init(init::Init),
    /// Run the gateway
    ///
    /// Prints `ready public=ADDRESS admin=ADDRESS` once it serves; logs go to standard error. SIGHUP reads the
    /// configuration again, and a bad one changes nothing. SIGTERM and Ctrl-C finish what is under way; a
    /// second one ends at once.
    Run,
    Check(check::Check),
    Routes(routes::Routes),
    Explain(explain::Explain),
    Test(decisions::Test),
    Coverage(decisions::Coverage),
    /// Print the JSON Schema of the configuration, for editors and other tools
    Schema,
    /// Print the OpenAPI document of the built-in API
    Openapi,
    Migrate(migrate::Migrate),
    User(user::User),
    Import(import::Import),
    App(app::App),
    Org(org::Org),
    Permission(permission::Permission),
    Role(role::Role),
    Group(group::Group),
    Agent(agent::Agent),
    Apikey(apikey::Keys),
    Approvals(approvals::Approvals),
    Keys(keys::Keys),
    Audit(audit::Audit),
    Stats(stats::Stats),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Restore(restore::Restore),
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
            if let Failure::Problem(text) | Failure::Usage(text) = &failure {
                note(format_args!("portcullis: {}", text.trim_end()));
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(cli: Cli, out: &mut Out) -> Result<(), Failure> {
    let config = cli.config.as_path();
    match cli.command {
        Command::Demo(command) => command.run(out),
        Command::Init(command) => command.run(config, out),
        Command::Run => run::run(config, out),
        Command::Check(command) => command.run(config, out),
        Command::Routes(command) => command.run(config, out),
        Command::Explain(command) => command.run(config, out),
        Command::Test(command) => command.run(config, out),
        Command::Coverage(command) => command.run(config, out),
        Command::Openapi => openapi::run(config, out),
        Command::Schema => schema::run(out),
        Command::Migrate(command) => command.run(config, out),
        Command::User(command) => command.run(config, out),
        Command::Import(command) => command.run(config, out),
        Command::App(command) => command.run(config, out),
        Command::Org(command) => command.run(config, out),
        Command::Permission(command) => command.run(config, out),
        Command::Role(command) => command.run(config, out),
        Command::Group(command) => command.run(config, out),
        Command::Agent(command) => command.run(config, out),
        Command::Apikey(command) => command.run(config, out),
        Command::Approvals(command) => command.run(config, out),
        Command::Keys(command) => command.run(config, out),
        Command::Audit(command) => command.run(config, out),
        Command::Stats(command) => command.run(config, out),
        Command::Doctor(command) => command.run(config, out),
        Command::Backup(command) => command.run(config, out),
        Command::Restore(command) => command.run(config, out),
        Command::Completions(command) => command.run(out),
    }
}
