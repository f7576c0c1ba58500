//! How a route holds what agents ask, in words: for whoever wants to know before anybody asks.
//!
//! Law: the judge's own answer, without its consequences.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Holding, body};
use crate::policy::{Approver, Approvers};

/// Whether a request would wait for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    No,
    Yes,
    /// Some do, by what stands in their body.
    ByBody,
}

impl Waits {
    /// The word of the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::ByBody => "by_body",
        }
    }
}

impl Holding {
    /// Whether a request with this body would wait, if it were JSON; without one, whether any would.
    pub fn waits(&self, body: Option<&[u8]>) -> Waits {
        match (&self.when, body) {
            (None, _) => Waits::Yes,
            (Some(_), None) => Waits::ByBody,
            (Some(when), Some(bytes)) => match body::read_by(&[], bytes) {
                Ok(value) if !body::is_held(when, value.as_ref()) => Waits::No,
                _ => Waits::Yes,
            },
        }
    }

    /// By what a request waits where not all do.
    pub fn condition(&self) -> Option<String> {
        self.when.as_ref().map(|when| format!("{when}, or cannot be found or compared"))
    }

    /// Who decides, and in what kind of session.
    pub fn deciders(&self) -> String {
        let mut text = people(&self.rules.approvers);
        if self.rules.mfa {
            text.push_str(", with a second factor");
        }
        if let Some(age) = self.rules.max_age {
            let _ = write!(text, ", logged in within the last {}", span(age));
        }
        text
    }

    /// How long everybody has.
    pub fn clocks(&self) -> String {
        let (decide, execute) = (span(self.decide_within), span(self.execute_within));
        format!("{decide} to decide, then {execute} to execute; `Prefer: wait` up to {}", span(self.wait))
    }
}

fn people(approvers: &Approvers) -> String {
    let groups = approvers.0.iter().map(|group| {
        let names: Vec<String> = group.any_of.iter().map(one).collect();
        let names = names.join(" or ");
        if group.need > 1 { format!("{} of: {names}", group.need) } else { names }
    });
    let groups: Vec<String> = groups.collect();
    groups.join(", and another: ")
}

fn one(approver: &Approver) -> String {
    match approver {
        Approver::Delegator => "the delegating human".to_owned(),
        Approver::Role(code) => format!("who has the role {code}"),
        Approver::OrgRole(code) => format!("who is {code} in the organization"),
    }
}

fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Code;
    use crate::policy::approver::Group;

    #[test]
    fn who_decides_is_said_in_full() {
        let role = |code| Approver::Role(Code::parse(code).unwrap());
        let two = Group { any_of: vec![Approver::Delegator, role("finance")], need: 2 };
        let one = Group { any_of: vec![Approver::OrgRole(Code::parse("admin").unwrap())], need: 1 };
        assert_eq!(
            people(&Approvers(vec![two, one])),
            "2 of: the delegating human or who has the role finance, and another: who is admin in the organization"
        );
        assert_eq!(people(&Approvers::delegator()), "the delegating human");
        for (seconds, text) in [(0, "0 ms"), (90, "90 s"), (600, "10 min"), (7200, "2 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
