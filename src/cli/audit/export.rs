//! `portcullis audit export`: the trail as a file.
//!
//! Law: no file is written over, and one that could not be finished is not left behind: what looks whole is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::stream;
use crate::audit::{Actor, Before, Search, Stream};
use crate::base::{Id, Timestamp};
use crate::cli::office::Office;
use crate::cli::open;
use crate::cli::out::{Failure, Out, note};
use crate::trail::codes;
use crate::trail::export::{Export as Rows, Format, Grounds};

/// Write the entries to a file, the latest first
///
/// That it was done is itself an entry, written before the file. Without filters: all of them.
#[derive(clap::Args, Debug)]
pub struct Export {
    /// csv, json or xlsx
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Format,
    /// A new file, or - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only changes, or only decisions of the data_plane about requests
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    stream: Option<Stream>,
    /// Only these events, joined by commas
    #[arg(long, value_name = "CODES")]
    code: Option<String>,
    /// Only what is about this account, by its id
    #[arg(long, value_name = "ID")]
    account: Option<Id>,
    /// Only what this agent token did, by its id
    #[arg(long, value_name = "ID")]
    agent: Option<Id>,
    /// Only what is about this organization, by its id
    #[arg(long, value_name = "ID")]
    organization: Option<Id>,
    /// Only what came through this application, by its id
    #[arg(long, value_name = "ID")]
    application: Option<Id>,
    /// Only what came from this address
    #[arg(long, value_name = "IP")]
    address: Option<std::net::IpAddr>,
    /// Only what this request caused, by its X-Request-ID
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only what this prompt caused, by its X-Prompt-Trace-ID
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// Only from this moment on: RFC 3339, or a day
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

fn format(name: &str) -> Result<Format, &'static str> {
    Format::named(name).ok_or("one of csv, json and xlsx")
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("a moment as RFC 3339 writes it, or a day: 2026-11-20")
}

impl Export {
    fn search(&self) -> Search {
        Search {
            stream: self.stream,
            codes: codes(self.code.as_deref().unwrap_or_default()),
            account: self.account,
            concerning: None,
            about: None,
            agent: self.agent,
            organization: self.organization,
            application: self.application,
            address: self.address.map(|address| address.to_string()),
            request_id: self.request.clone(),
            trace: self.trace.clone(),
            since: self.since,
            until: self.until,
            before: Before::default(),
        }
    }

    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let search = self.search();
        if self.code.is_some() && search.codes.is_empty() {
            return Err(Failure::usage("`--code` takes words joined by commas"));
        }
        let config = open::config(path)?.config;
        if let Some(missing) = open::missing_store(&config.store) {
            return Err(Failure::problem(format_args!("there is no store at {} yet", missing.display())));
        }
        open::block_on(async {
            let office = Office::of(config).await?;
            // Before the entry that says that it was done: where nothing can be written, nothing was.
            let mut file = Target::open(&self.out)?;
            let app = &office.app;
            let begun = Rows::begin(app, Actor::command_line(), search, self.format, Grounds::default());
            let mut rows = begun.await.inspect_err(|_| file.abandon())?;
            loop {
                let written = match rows.next().await {
                    Ok(Some(piece)) => file.write(&piece, out),
                    Ok(None) => break,
                    Err(failed) => Err(Failure::problem(failed)),
                };
                written.inspect_err(|_| file.abandon())?;
            }
            file.finish(out)
        })
    }
}

/// Where the file goes.
enum Target {
    File(PathBuf, std::fs::File),
    Standard,
}

impl Target {
    fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        // Addresses of people stand in it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Self::File(path.to_owned(), file)),
            Err(error) => Err(Failure::problem(format_args!("{}: {error}", path.display()))),
        }
    }

    fn write(&mut self, piece: &[u8], out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::File(_, file) => Ok(file.write_all(piece)?),
            Self::Standard => out.bytes(piece),
        }
    }

    fn finish(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::File(path, file) => {
                file.sync_all()?;
                out.line(format_args!("wrote {}", path.display()))
            }
            Self::Standard => Ok(()),
        }
    }

    /// Leaves nothing that could be taken for the whole.
    fn abandon(&self) {
        if let Self::File(path, _) = self
            && let Err(error) = std::fs::remove_file(path)
        {
            note(format_args!("{} is not whole and cannot be removed: {error}", path.display()));
        }
    }
}
