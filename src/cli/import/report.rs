//! What an import tells: how many came, and what did not come and why.
//!
//! Law: it says where somebody stands in the file, and nothing that opens an account.

use serde_json::json;

use crate::cli::out::{Failure, Format, Out};

/// What became of somebody.
#[derive(Debug)]
pub(super) enum Fate {
    /// They have an account now, without some of what they had.
    Taken {
        without: Vec<String>,
    },
    /// They have had one before.
    Here,
    Refused(String),
}

/// What became of everybody.
#[derive(Debug)]
pub(super) struct Report {
    taken: usize,
    here: usize,
    without: Vec<(String, String)>,
    refused: Vec<(String, String)>,
    remarks: Vec<String>,
    /// How many organizations came, where there could be any.
    pub organizations: Option<usize>,
}

impl Report {
    pub fn new(remarks: Vec<String>) -> Self {
        Self { taken: 0, here: 0, without: Vec::new(), refused: Vec::new(), remarks, organizations: None }
    }

    pub fn add(&mut self, place: String, fate: Fate) {
        match fate {
            Fate::Here => self.here += 1,
            Fate::Refused(why) => self.refused.push((place, why)),
            Fate::Taken { without } => {
                self.taken += 1;
                self.without.extend(without.into_iter().map(|what| (place.clone(), what)));
            }
        }
    }

    /// Somebody, or an organization, came without something.
    pub fn lacks(&mut self, place: &str, what: String) {
        self.without.push((place.to_owned(), what));
    }

    /// Whether everybody has an account now.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty()
    }

    pub fn tell(&self, out: &mut Out, format: Format, is_dry: bool) -> Result<(), Failure> {
        if format == Format::Json {
            let list = |all: &[(String, String)]| {
                let entries = all.iter().map(|(place, why)| json!({"place": place, "why": why}));
                entries.collect::<Vec<_>>()
            };
            let mut whole = json!({
                "dry_run": is_dry,
                "imported": self.taken,
                "already_here": self.here,
                "imported_without": list(&self.without),
                "not_imported": list(&self.refused),
                "not_read": self.remarks,
            });
            if let Some(organizations) = self.organizations {
                whole["organizations"] = organizations.into();
            }
            return out.json(&whole);
        }
        let verb = if is_dry { "would be imported" } else { "imported" };
        out.line(format_args!(
            "{} {verb}, {} here already, {} not",
            self.taken,
            self.here,
            self.refused.len()
        ))?;
        if let Some(organizations) = self.organizations {
            out.line(format_args!("{organizations} organizations {verb}"))?;
        }
        for (place, what) in &self.without {
            out.line(format_args!("{place}: {verb} without {what}"))?;
        }
        for (place, why) in &self.refused {
            out.line(format_args!("{place}: not {verb}: {why}"))?;
        }
        self.remarks.iter().try_for_each(|remark| out.line(format_args!("not read: {remark}")))
    }
}
