//! `portcullis doctor`: looks at everything that a gateway stands on, and says what is wrong and
//! what to do about it.
//!
//! Law: it changes nothing, and goes on after what it finds: one visit, the whole list.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::app::App;
use crate::base::{Clock as _, Id, SystemClock, SystemRandom, Timestamp};
use crate::config::{self, Config};
use crate::notify::{self, Checked};
use crate::policy::Approver;
use crate::proxy::tls::{Certificate, PemPair};
use crate::proxy::upstream::Tls;
use crate::shared::{Shared, Unreachable};
use crate::store::migrate::{self, State};
use crate::store::{DEFAULT_SITE, Error};
use crate::{account, agent, directory, keys, rbac, server, social};

/// Look at configuration, seal key, store, upstreams, mail, webhooks, providers and ports, and say what is wrong
///
/// Changes nothing. Exit code 1 when a gateway would not start, or could not decide.
#[derive(clap::Args, Debug)]
pub struct Doctor {
    #[command(flatten)]
    json: AsJson,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Doubtful,
    Bad,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "look",
            Self::Bad => "BAD",
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
struct Findings(Vec<(Verdict, &'static str, String)>);

impl Findings {
    fn add(&mut self, verdict: Verdict, what: &'static str, text: impl Into<String>) {
        self.0.push((verdict, what, text.into()));
    }

    fn show(&self, format: Format, out: &mut Out) -> Result<(), Failure> {
        if format == Format::Json {
            let one = |(verdict, what, text): &(Verdict, &str, String)| json!({"verdict": verdict.name().to_lowercase(), "what": what, "finding": text});
            out.json(&self.0.iter().map(one).collect::<Value>())?;
        } else {
            for (verdict, what, text) in &self.0 {
                out.line(format_args!("{:<5} {what}: {text}", verdict.name()))?;
            }
        }
        let bad = self.0.iter().filter(|(verdict, ..)| *verdict == Verdict::Bad).count();
        if bad == 0 { Ok(()) } else { Err(Failure::problem(format_args!("{bad} of these must be mended"))) }
    }
}

const PATIENCE: Duration = Duration::from_secs(2);

impl Doctor {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let mut found = Findings::default();
        match config::load(path) {
            Err(problems) => found.add(Verdict::Bad, "configuration", problems.to_string().trim_end()),
            Ok(loaded) => {
                found.add(Verdict::Good, "configuration", format!("{} can be used", path.display()));
                for warning in &loaded.warnings {
                    found.add(Verdict::Doubtful, "configuration", warning.to_string());
                }
                open::block_on(async {
                    look(&loaded.config, &mut found).await;
                    Ok(())
                })?;
            }
        }
        found.show(self.json.format(), out)
    }
}

async fn look(config: &Arc<Config>, found: &mut Findings) {
    let has_seal = seal_key(config, found);
    certificates(config, found);
    if store(config, found).await && has_seal {
        inside(config, found).await;
    }
    shared(config, found).await;
    upstreams(config, found).await;
    notices(config, found).await;
    providers(config, found).await;
    ports(config, found).await;
}

fn seal_key(config: &Config, found: &mut Findings) -> bool {
    let path = &config.keys.seal_file;
    match config::seal_key(path) {
        Err(cause) => found.add(Verdict::Bad, "seal key", cause.to_string()),
        Ok(_) if config::file::is_open_to_others(path) => {
            let text = format!("others may read it: chmod 600 {}", path.display());
            found.add(Verdict::Bad, "seal key", text);
        }
        Ok(_) => {
            found.add(Verdict::Good, "seal key", format!("{} can be read", path.display()));
            return true;
        }
    }
    false
}

/// Whether the files of TLS hold what they should; that they are there the configuration has told.
fn certificates(config: &Config, found: &mut Findings) {
    let mut note = |what: String, outcome: Result<(), String>| match outcome {
        Ok(()) => found.add(Verdict::Good, "certificate", format!("{what} can be used")),
        Err(cause) => found.add(Verdict::Bad, "certificate", format!("{what}: {cause}")),
    };
    if let Some(tls) = &config.listen.tls {
        let read = |path: &Path| config::file::read(path).map_err(|error| error.to_string());
        let pair = read(&tls.cert_file).and_then(|chain| Ok(PemPair { chain, key: read(&tls.key_file)? }));
        let certificate = pair.and_then(|pair| Certificate::new(&pair).map_err(|cause| cause.to_string()));
        note("listen.tls".to_owned(), certificate.map(drop));
    }
    for upstream in config.upstreams.values() {
        if let Some(tls) = &upstream.tls {
            let loaded = Tls::load(tls).map_err(|cause| cause.to_string());
            note(format!("upstreams.{}.tls", upstream.name), loaded.map(drop));
        }
    }
}

/// Whether the store is there and as this program needs it.
async fn store(config: &Config, found: &mut Findings) -> bool {
    let db = match open::existing_store(&config.store).await {
        Ok(db) => db,
        Err(Failure::Problem(text)) => {
            found.add(Verdict::Bad, "store", text);
            return false;
        }
        Err(_) => return false,
    };
    match migrate::status(&db).await {
        Err(error) => found.add(Verdict::Bad, "store", error.to_string()),
        Ok(files) if files.iter().any(|(_, state)| *state == State::Unknown) => {
            found.add(Verdict::Bad, "store", "a newer version of portcullis was here: run that one");
        }
        Ok(files) if files.iter().any(|(_, state)| *state != State::Applied) => {
            found.add(
                Verdict::Doubtful,
                "store",
                "not up to date: `portcullis migrate`, or the next start does it",
            );
        }
        Ok(_) => {
            found.add(Verdict::Good, "store", "answers, and is up to date");
            return true;
        }
    }
    false
}

/// What stands in an up-to-date store.
async fn inside(config: &Arc<Config>, found: &mut Findings) {
    let app = match server::operate(config, Arc::new(SystemClock), Arc::new(SystemRandom)).await {
        Ok(app) => app,
        Err(error) => return found.add(Verdict::Bad, "signing keys", error.to_string()),
    };
    match (keys::lacking(&app), keys::list(&app).await) {
        (Some(failure), _) | (None, Err(failure)) => {
            found.add(Verdict::Bad, "signing keys", failure.to_string());
        }
        (None, Ok(all)) if all.is_empty() => {
            found.add(Verdict::Good, "signing keys", "none yet: the first `portcullis run` makes them");
        }
        (None, Ok(all)) => {
            let oldest = all.iter().map(|key| key.created_at).min().map(Timestamp::rfc3339);
            let since = oldest.map(|since| format!(", the oldest of {since}")).unwrap_or_default();
            found.add(Verdict::Good, "signing keys", format!("{} can be opened{since}", all.len()));
        }
    }
    if config.mail.is_some()
        && let Err(error) = readers(&app, found).await
    {
        found.add(Verdict::Bad, "mail", error.to_string());
    }
    let orphans = match rbac::definitions(&app.db, &config.definitions).await {
        Ok(definitions) => rbac::orphans(&app.db, &definitions).await,
        Err(error) => Err(error),
    };
    match orphans {
        Err(error) => found.add(Verdict::Bad, "rights", error.to_string()),
        Ok(orphans) => {
            for one in orphans {
                let text =
                    format!("{} accounts hold {}, which nothing defines any more", one.accounts, one.granted);
                found.add(Verdict::Doubtful, "rights", text);
            }
        }
    }
    match rbac::defined_twice(&app.db, &config.definitions).await {
        Err(error) => found.add(Verdict::Bad, "rights", error.to_string()),
        Ok(twice) => {
            for one in twice {
                let text = format!(
                    "{} accounts were given {} when it was made here; now the configuration file says what it brings",
                    one.accounts, one.granted
                );
                found.add(Verdict::Doubtful, "rights", text);
            }
        }
    }
}

async fn shared(config: &Config, found: &mut Findings) {
    let config::Shared::Redis { url, timeout: within } = &config.shared else { return };
    let clock = Arc::new(SystemClock);
    let replica = Id::new(crate::base::Clock::now(&SystemClock), &SystemRandom);
    let asked = async {
        let shared = Shared::redis(url, *within, "doctor", replica, clock).await?;
        shared.ping().await?;
        Ok::<_, Unreachable>(shared.may_forget().await)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(None)) => found.add(Verdict::Good, "shared state", "Redis answers"),
        Ok(Ok(Some(policy))) => {
            let text = format!(
                "Redis may drop limits when its memory is full ({policy}): set maxmemory-policy to noeviction"
            );
            found.add(Verdict::Doubtful, "shared state", text);
        }
        Ok(Err(error)) => found.add(Verdict::Bad, "shared state", error.to_string()),
        Err(_) => found.add(Verdict::Bad, "shared state", "Redis does not answer within 2 s"),
    }
}

async fn upstreams(config: &Config, found: &mut Findings) {
    for upstream in config.upstreams.values() {
        for server in &upstream.servers {
            let what = format!("{} at {server}", upstream.name);
            match timeout(PATIENCE, TcpStream::connect(server.to_string())).await {
                Ok(Ok(_)) => found.add(Verdict::Good, "upstream", format!("{what} accepts connections")),
                Ok(Err(error)) => found.add(Verdict::Doubtful, "upstream", format!("{what}: {error}")),
                Err(_) => found.add(Verdict::Doubtful, "upstream", format!("{what}: no answer within 2 s")),
            }
        }
    }
}

/// Whether mail and webhooks would go out. Nothing is sent.
async fn notices(config: &Arc<Config>, found: &mut Findings) {
    if config.mail.is_none() {
        let text = "none is configured: nobody gets a code, a link to a new password, or word of what waits for them \
                    (`mail` in the configuration)";
        found.add(Verdict::Doubtful, "mail", text);
    }
    for Checked { name, outcome } in notify::check(config).await {
        let what = match name.as_str() {
            "mail" => "mail",
            "sms" => "sms",
            _ => "webhook",
        };
        let of = if what == name { String::new() } else { format!("{name}: ") };
        match outcome {
            Ok(text) => found.add(Verdict::Good, what, format!("{of}{text}")),
            Err(problem) => found.add(Verdict::Doubtful, what, format!("{of}{problem}")),
        }
    }
}

/// Whether providers of identities can be asked.
async fn providers(config: &Config, found: &mut Findings) {
    for (name, outcome) in social::check(config, SystemClock.now()).await {
        match outcome {
            Ok(text) => found.add(Verdict::Good, "provider", format!("{name}: {text}")),
            Err(problem) => found.add(Verdict::Doubtful, "provider", format!("{name}: {problem}")),
        }
    }
    match directory::check(config).await {
        None => {}
        Some(Ok(())) => found.add(Verdict::Good, "directory", "it can be asked"),
        Some(Err(problem)) => found.add(Verdict::Doubtful, "directory", problem),
    }
}

/// Whether those who delegate and decide have an address that mail may go to.
async fn readers(app: &App, found: &mut Findings) -> Result<(), Error> {
    let config = app.config();
    let mut people = BTreeSet::from_iter(agent::delegators(&app.db, DEFAULT_SITE).await?);
    let rules = config.routes.iter().filter_map(|route| route.agents.as_ref()?.approvers.as_ref());
    for approver in rules.flat_map(|rule| rule.rule().0).flat_map(|group| group.any_of) {
        if let Approver::Role(role) = approver {
            people.extend(rbac::holders_of(app, &app.db, &role).await?);
        }
    }
    let mut without = 0;
    for id in &people {
        let person = account::by_id(&app.db, *id).await?;
        without +=
            usize::from(person.is_some_and(|person| person.email.is_none() || !person.is_email_verified));
    }
    if without > 0 {
        let text = format!(
            "{without} of {} people who delegate to agents or decide about them have no verified address: they \
             get no mail, and see what waits on the page alone (`portcullis user verify`)",
            people.len()
        );
        found.add(Verdict::Doubtful, "mail", text);
    }
    Ok(())
}

async fn ports(config: &Config, found: &mut Findings) {
    for address in config.listen.own_addresses().filter(|own| own.port() != 0) {
        match TcpListener::bind(address).await {
            Ok(_) => found.add(Verdict::Good, "port", format!("{address} is free")),
            Err(error) => {
                let text = format!("{address}: {error} (as it should be where a gateway is running)");
                found.add(Verdict::Doubtful, "port", text);
            }
        }
    }
}
