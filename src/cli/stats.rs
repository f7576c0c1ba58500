//! `portcullis stats`: the last days in numbers, and how many there are. It reads what gateways have counted;
//! what they have not counted yet it says, and does not count itself.

use std::path::Path;

use super::open;
use super::out::{AsJson, Failure, Format, Out};
use crate::base::{Clock as _, SystemClock};
use crate::statistics::{self, Day, Report};
use crate::store::DEFAULT_SITE;

/// Show logins, registrations and what is suspicious, day by day, and how many accounts there are
#[derive(clap::Args, Debug)]
pub struct Stats {
    /// How many days, the last of which is today, in UTC
    #[arg(long, short = 'd', value_name = "NUMBER", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    #[command(flatten)]
    json: AsJson,
}

impl Stats {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = open::config(path)?;
        open::block_on(async {
            let db = open::existing_store(&loaded.config.store).await?;
            let report = statistics::report(&db, DEFAULT_SITE, SystemClock.now(), self.days).await?;
            match self.json.format() {
                Format::Json => out.json(&report),
                Format::Text => tell(&report, out),
            }
        })
    }
}

fn tell(report: &Report, out: &mut Out) -> Result<(), Failure> {
    let Report { behind, accounts, live_sessions, days, .. } = report;
    let row = |day: &Day| {
        let Day { date, logins, failed_logins, registrations, refreshes, suspicious } = day;
        let numbers = [logins, failed_logins, registrations, refreshes, suspicious].map(ToString::to_string);
        let [logins, failed, registrations, refreshes, suspicious] = numbers;
        [date.clone(), logins, failed, registrations, refreshes, suspicious]
    };
    let rows: Vec<[String; 6]> = days.iter().map(row).collect();
    out.table(["DAY", "LOGINS", "FAILED", "REGISTERED", "REFRESHED", "SUSPICIOUS"], &rows)?;
    out.line(format_args!(
        "{} accounts: {} active, {} locked, {} banned, {} with a second factor; {} deleted",
        accounts.total,
        accounts.active,
        accounts.locked,
        accounts.banned,
        accounts.with_2fa,
        accounts.deleted
    ))?;
    out.line(format_args!("{live_sessions} logins that can be refreshed"))?;
    if *behind > 0 {
        out.line(format_args!("{behind} audit entries are not counted yet; a running gateway counts them"))?;
    }
    Ok(())
}
