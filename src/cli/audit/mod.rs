//! `portcullis audit tail`: what happened, newest last, and with `--follow` what happens; `audit verify`:
//! whether all of it is still there; `audit export`: a file of it;
//! `audit prune`: what is too old, out of it. Rows are read as they are: what was erased stays erased. Beside the id of an
//! account stands what it is called now.

mod export;
mod prune;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value, json};

use crate::account;
use crate::agent;
use crate::audit::{self, Broken, Buried, HEAD_LINE, Kept, Row, SignedHead, Sought, Stream, Whole};
use crate::base::{Clock as _, Id, SystemClock, Timestamp};
use crate::cli::open;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::config;
use crate::crypto::seal::SealKey;
use crate::store::{Db, Error};

/// Read the audit trail
#[derive(clap::Args, Debug)]
pub struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Tail(Tail),
    Verify(Verify),
    Export(export::Export),
    Prune(prune::Prune),
}

/// Check that no entry was changed, removed or put elsewhere, and name the first that was
#[derive(clap::Args, Debug)]
struct Verify {
    /// What the log said of the trail's end: also check that it still contains that entry. May be repeated
    #[arg(long = "head", value_name = "SIGNED")]
    heads: Vec<String>,
    /// A log, or - for standard input: check every such line of it
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    json: AsJson,
}

/// Print the latest entries, newest last
#[derive(clap::Args, Debug)]
struct Tail {
    /// How many
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    lines: u32,
    /// Go on printing as entries are written, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Only changes, or only decisions of the data_plane about requests
    #[arg(long, value_name = "STREAM", value_parser = stream)]
    stream: Option<Stream>,
    /// Only this event, say agent_action
    #[arg(long, value_name = "CODE", value_parser = PossibleValuesParser::new(audit::CODES), hide_possible_values = true)]
    code: Option<String>,
    /// Only what is about this account, by its id
    #[arg(long, value_name = "ID")]
    account: Option<Id>,
    /// Only what this request caused, by its X-Request-ID
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only what this prompt caused, by its X-Prompt-Trace-ID
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    #[command(flatten)]
    json: AsJson,
}

impl Tail {
    fn sought(&self) -> Sought {
        let Self { stream, code, account, request, trace, .. } = self;
        let (code, request_id, trace) = (code.clone(), request.clone(), trace.clone());
        Sought { stream: *stream, code, account: *account, request_id, trace }
    }
}

fn stream(name: &str) -> Result<Stream, &'static str> {
    Stream::named(name).ok_or("one of changes and data_plane")
}

/// How often `--follow` looks, and how many entries it takes at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const AT_ONCE: u32 = 500;

impl Audit {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        match &self.command {
            Command::Tail(tail) => tail.run(path, out),
            Command::Verify(verify) => verify.run(path, out),
            Command::Export(export) => export.run(path, out),
            Command::Prune(prune) => prune.run(path, out),
        }
    }
}

impl Verify {
    fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let config = open::config(path)?.config;
        let key = config::seal_key(&config.keys.seal_file).map_err(Failure::problem)?;
        let seal = SealKey::from_bytes(*key.expose());
        let heads = self.heads(&seal)?;
        let format = self.json.format();
        open::block_on(async {
            let db = open::existing_store(&config.store).await?;
            let pruned_before = SystemClock.now().minus(config.audit.keep_for);
            match Checked::now(&db, &seal, &heads, pruned_before).await {
                Ok(checked) => checked.tell(format, out),
                Err(Broken::At { seq, finding }) => {
                    if format == Format::Json {
                        let stream = Stream::of(seq);
                        out.json(&json!({"whole": false, "stream": stream, "seq": seq, "finding": finding}))?;
                    } else {
                        out.line(Broken::At { seq, finding })?;
                    }
                    Err(Failure::Told)
                }
                Err(Broken::Store(cause)) => Err(cause.into()),
            }
        })
    }

    /// The heads that were named and those of the log, if this seal key signed all of them.
    fn heads(&self, seal: &SealKey) -> Result<Vec<SignedHead>, Failure> {
        let mut texts = self.heads.clone();
        if let Some(log) = &self.log {
            let text = read(log)?;
            let before = texts.len();
            texts.extend(heads_of(&text).map(str::to_owned));
            if texts.len() == before {
                let log = log.display();
                return Err(Failure::problem(if text.contains(HEAD_LINE) {
                    format!("{log} has lines \"{HEAD_LINE}\", and none of them has its `signed` in one piece")
                } else {
                    format!("{log} has no line \"{HEAD_LINE}\"")
                }));
            }
        }
        let read = |text: &String| SignedHead::read(seal, text);
        let mut heads: Vec<_> = texts.iter().map(read).collect::<Result<_, _>>().map_err(Failure::problem)?;
        heads.sort_by(|one, other| (one.head.seq, &one.head.hash).cmp(&(other.head.seq, &other.head.hash)));
        heads.dedup();
        Ok(heads)
    }
}

fn read(log: &Path) -> Result<String, Failure> {
    let said = |error| Failure::problem(format!("{}: {error}", log.display()));
    if log != Path::new("-") {
        return std::fs::read_to_string(log).map_err(said);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(said)?;
    Ok(text)
}

/// What the lines of a log in either form say of the trail's end. Whatever people send, in a path say, is no
/// such line: a path has no spaces. Logs of before were coloured in files, too: what ends a colour (`ESC[0m`)
/// stands right before the word then.
fn heads_of(log: &str) -> impl Iterator<Item = &str> {
    let lines = log.lines().filter(|line| line.contains(HEAD_LINE));
    lines.filter_map(|line| {
        let words = line.split(|at: char| !(at.is_ascii_alphanumeric() || at == '.'));
        words
            .map(|word| word.strip_prefix("0m").unwrap_or(word))
            .find(|word| word.starts_with("v1.") && word.split('.').count() == 5)
    })
}

/// What was found of a trail that is whole.
struct Checked {
    /// Each stream of it.
    whole: Vec<Whole>,
    /// The entries of heads that have been pruned.
    pruned: Vec<i64>,
}

impl Checked {
    async fn now(
        db: &Db,
        seal: &SealKey,
        heads: &[SignedHead],
        pruned_before: Timestamp,
    ) -> Result<Self, Broken> {
        let (mut all, mut pruned) = (Vec::new(), Vec::new());
        for stream in Stream::ALL {
            let whole = audit::verify(db, seal, stream).await?;
            // What a head vouches for is of one stream: its number says which.
            for head in heads.iter().filter(|head| Stream::of(head.head.seq) == stream) {
                if audit::kept(db, &whole, head, pruned_before).await? == Kept::Pruned {
                    pruned.push(head.head.seq);
                }
            }
            all.push(whole);
        }
        Ok(Self { whole: all, pruned })
    }

    fn tell(&self, format: Format, out: &mut Out) -> Result<(), Failure> {
        let Self { whole, pruned } = self;
        if format == Format::Json {
            let streams: Map<String, Value> = whole.iter().map(as_json).collect();
            return out.json(&json!({"whole": true, "streams": streams, "pruned_heads": pruned}));
        }
        for Whole { stream, end, tombstone, .. } in whole {
            match stream {
                Stream::Changes => {
                    out.line(format_args!(
                        "the audit trail is whole up to entry {} ({})",
                        end.seq, end.hash
                    ))?;
                }
                Stream::DataPlane if end.seq == stream.floor() => {
                    out.line("nothing is in it of the data plane")?;
                }
                Stream::DataPlane => {
                    let (seq, hash) = (end.seq, &end.hash);
                    out.line(format_args!("that of the {stream} is whole up to entry {seq} ({hash})"))?;
                }
            }
            if let Some(Buried { seq, tombstone }) = tombstone {
                let (last, before) = (tombstone.to.seq, tombstone.before.rfc3339());
                out.line(format_args!(
                    "entries up to {last} were pruned because they were written before {before}: entry {seq} is their tombstone, signed"
                ))?;
            }
        }
        for seq in pruned {
            out.line(format_args!("entry {seq}, which the log vouches for, was pruned by its age"))?;
        }
        Ok(())
    }
}

/// A stream that is whole, under its name.
fn as_json(whole: &Whole) -> (String, Value) {
    let Whole { stream, first, end, tombstone } = whole;
    let tombstone = tombstone.as_ref().map(|Buried { seq, tombstone }| {
        json!({"seq": seq, "to_seq": tombstone.to.seq, "hash": tombstone.to.hash, "before": tombstone.before.rfc3339()})
    });
    let told = json!({"first": first, "seq": end.seq, "hash": end.hash, "tombstone": tombstone});
    (stream.name().to_owned(), told)
}

impl Tail {
    fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let sought = self.sought();
        let loaded = open::config(path)?;
        open::block_on(async {
            let db = open::existing_store(&loaded.config.store).await?;
            let mut names = Names::default();
            let (mut seen, mut rows) = Seen::latest(&db, &sought, self.lines).await?;
            loop {
                for row in &rows {
                    if self.json.format() == Format::Json {
                        out.json_line(row)?;
                    } else {
                        names.learn(&db, row).await?;
                        show(row, &names, out)?;
                    }
                }
                if !self.follow {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
                rows = seen.next(&db, &sought).await?;
            }
        })
    }
}

/// How far each stream was read.
struct Seen([i64; 2]);

impl Seen {
    /// The last rows that are sought, and that they were read.
    async fn latest(db: &Db, sought: &Sought, lines: u32) -> Result<(Self, Vec<Row>), Failure> {
        let (mut seen, mut parts) = (Self(Stream::ALL.map(Stream::floor)), <[Vec<Row>; 2]>::default());
        for stream in Stream::chosen(sought.stream) {
            let own = Sought { stream: Some(stream), ..sought.clone() };
            let rows = audit::latest_of(db, &own, lines).await.map_err(Failure::problem)?;
            seen.take(stream, rows, &mut parts);
        }
        let mut rows = audit::oldest_first(parts);
        let most = usize::try_from(lines).unwrap_or(usize::MAX);
        rows.drain(..rows.len().saturating_sub(most));
        Ok((seen, rows))
    }

    /// Those that came since.
    async fn next(&mut self, db: &Db, sought: &Sought) -> Result<Vec<Row>, Failure> {
        let mut parts = <[Vec<Row>; 2]>::default();
        for stream in Stream::chosen(sought.stream) {
            let own = Sought { stream: Some(stream), ..sought.clone() };
            let rows = audit::tail_of(db, &own, self.of(stream), AT_ONCE).await.map_err(Failure::problem)?;
            self.take(stream, rows, &mut parts);
        }
        Ok(audit::oldest_first(parts))
    }

    const fn of(&self, stream: Stream) -> i64 {
        let Self([changes, data_plane]) = self;
        match stream {
            Stream::Changes => *changes,
            Stream::DataPlane => *data_plane,
        }
    }

    fn take(&mut self, stream: Stream, rows: Vec<Row>, parts: &mut [Vec<Row>; 2]) {
        let (Self([changes, data_plane]), [of_changes, of_data_plane]) = (self, parts);
        let (seen, part) = match stream {
            Stream::Changes => (changes, of_changes),
            Stream::DataPlane => (data_plane, of_data_plane),
        };
        *seen = rows.last().map_or(*seen, |row| row.seq);
        *part = rows;
    }
}

/// What accounts and agent tokens are called that entries name by their ids, while they are there.
#[derive(Default)]
struct Names(HashMap<Id, Option<String>>);

impl Names {
    async fn learn(&mut self, db: &Db, row: &Row) -> Result<(), Error> {
        for id in [row.actor, row.account].into_iter().flatten() {
            if self.0.contains_key(&id) {
                continue;
            }
            let name = match account::by_id(db, id).await? {
                Some(found) => {
                    let email = found.email.map(|email| email.to_string());
                    email.or_else(|| Some(found.username?.to_string()))
                }
                // With its number, by which `portcullis agent show` and `revoke` take it.
                None => agent::find(db, agent::Reference::Id(id))
                    .await?
                    .map(|token| format!("{} #{}", token.agent, token.number)),
            };
            self.0.insert(id, name);
        }
        Ok(())
    }

    /// As JSON, so that no control character of a name reaches the terminal.
    fn beside(&self, id: Id) -> String {
        let name = self.0.get(&id).and_then(Option::as_deref);
        name.map_or_else(|| id.to_string(), |name| format!("{id}({})", Value::from(name)))
    }
}

fn show(row: &Row, names: &Names, out: &mut Out) -> Result<(), Failure> {
    let text = |id: Option<Id>| id.map(|id| id.to_string());
    let named = |id: Option<Id>| id.map(|id| names.beside(id));
    let mut facts = vec![
        ("by", Some(named(row.actor).unwrap_or_else(|| row.actor_kind.clone()))),
        ("account", named(row.account)),
        ("organization", text(row.organization)),
        ("application", text(row.application)),
        ("request", row.request_id.clone()),
    ];
    if let Value::Object(personal) = &row.personal {
        // As JSON, so that no control character of a client reaches the terminal.
        let told = personal.iter().filter(|(_, value)| !value.is_null());
        facts.extend(told.map(|(name, value)| (name.as_str(), Some(value.to_string()))));
    }
    let facts = facts.into_iter().filter_map(|(name, value)| value.map(|value| format!(" {name}={value}")));
    out.line(format_args!(
        "{} #{} {}{}",
        row.happened_at.rfc3339(),
        row.seq,
        row.code,
        facts.collect::<String>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_trail_are_found_in_every_form_of_a_log() {
        let head = "v1.47.1800000000000.abc.def";
        for line in [
            format!("INFO portcullis::audit: the audit trail ends here seq=47 signed={head}"),
            format!(r#"{{"message":"the audit trail ends here","seq":47,"signed":"{head}"}}"#),
            format!("the audit trail ends here \u{1b}[3msigned\u{1b}[0m\u{1b}[2m=\u{1b}[0m{head}"),
            format!(
                "the audit trail ends here \u{1b}[3msigned\u{1b}[0m\u{1b}[2m=\u{1b}[0m{head}\u{1b}[0m more"
            ),
        ] {
            let log = format!("another line with v1.1.2.3.4\n{line}\n");
            assert_eq!(heads_of(&log).collect::<Vec<_>>(), [head], "{line:?}");
        }
        assert_eq!(heads_of("the audit trail ends here seq=47\n").count(), 0);
    }
}
