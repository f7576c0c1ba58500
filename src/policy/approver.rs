//! Who may decide about what an agent wants to do, as a rule that can be kept with the question.
//!
//! Law: pure. Every group is satisfied by people of its own: nobody counts twice, and a rule that
//! asks for nobody does not exist.

use serde::{Deserialize, Serialize};

use super::Code;

/// Every one of these groups must say yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvers(pub Vec<Group>);

/// So many of these people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub any_of: Vec<Approver>,
    /// At least 1.
    pub need: u32,
}

/// Somebody who may decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approver {
    /// The human who delegated to the agent.
    Delegator,
    /// Who holds this role globally and is a member of the agent's organization, if it has one.
    Role(Code),
    /// Who is this in the agent's organization or above it.
    OrgRole(Code),
}

/// What one person is to one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub is_delegator: bool,
    /// Those that count here.
    pub roles: Vec<Code>,
    pub org_roles: Vec<Code>,
}

impl Approvers {
    /// The delegating human alone.
    #[must_use]
    pub fn delegator() -> Self {
        Self(vec![Group { any_of: vec![Approver::Delegator], need: 1 }])
    }

    /// Whether nobody but the delegating human can decide.
    #[must_use]
    pub fn is_delegators_alone(&self) -> bool {
        self.0.iter().flat_map(|group| &group.any_of).all(|approver| *approver == Approver::Delegator)
    }

    /// Whether this person is one of those who decide.
    #[must_use]
    pub fn admit(&self, person: &Capacity) -> bool {
        self.0.iter().any(|group| group.admits(person))
    }

    /// How many are still needed when these said yes.
    #[must_use]
    pub fn missing(&self, voters: &[Capacity]) -> usize {
        let seats: Vec<&Group> =
            self.0.iter().flat_map(|group| (0..group.need).map(move |_| group)).collect();
        let mut taken: Vec<Option<usize>> = vec![None; voters.len()];
        let filled = (0..seats.len())
            .filter(|seat| seat_somebody(*seat, &seats, voters, &mut taken, &mut vec![false; voters.len()]))
            .count();
        // A rule without a seat would be satisfied by nobody at all.
        if seats.is_empty() { 1 } else { seats.len() - filled }
    }
}

/// Gives a seat to someone who fits, moving others to other seats where that makes room.
fn seat_somebody(
    seat: usize,
    seats: &[&Group],
    voters: &[Capacity],
    taken: &mut [Option<usize>],
    asked: &mut [bool],
) -> bool {
    for (voter, capacity) in voters.iter().enumerate() {
        if asked[voter] || !seats[seat].admits(capacity) {
            continue;
        }
        asked[voter] = true;
        let can_move = match taken[voter] {
            None => true,
            Some(other) => seat_somebody(other, seats, voters, taken, asked),
        };
        if can_move {
            taken[voter] = Some(seat);
            return true;
        }
    }
    false
}

impl Group {
    fn admits(&self, person: &Capacity) -> bool {
        self.any_of.iter().any(|approver| match approver {
            Approver::Delegator => person.is_delegator,
            Approver::Role(code) => person.roles.contains(code),
            Approver::OrgRole(code) => person.org_roles.contains(code),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    fn with(roles: &[&str], org_roles: &[&str]) -> Capacity {
        let codes = |list: &[&str]| list.iter().map(|text| code(text)).collect();
        Capacity { is_delegator: false, roles: codes(roles), org_roles: codes(org_roles) }
    }

    fn role(text: &str, need: u32) -> Group {
        Group { any_of: vec![Approver::Role(code(text))], need }
    }

    #[test]
    fn the_delegator_alone_decides_by_default() {
        let rule = Approvers::delegator();
        let owner = Capacity { is_delegator: true, ..Capacity::default() };
        assert!(rule.admit(&owner) && rule.is_delegators_alone());
        assert!(!rule.admit(&with(&["finance"], &["admin"])));
        assert_eq!((rule.missing(&[]), rule.missing(&[owner])), (1, 0));
    }

    #[test]
    fn nobody_sits_on_two_seats_and_everyone_sits_where_it_helps() {
        let rule = Approvers(vec![role("finance", 1), role("legal", 1)]);
        let both = with(&["finance", "legal"], &[]);
        let finance = with(&["finance"], &[]);
        assert_eq!(rule.missing(std::slice::from_ref(&both)), 1, "one person is one yes");
        assert_eq!(
            rule.missing(&[both.clone(), finance.clone()]),
            0,
            "the first moves over to the other seat"
        );
        assert_eq!(rule.missing(&[finance.clone(), finance]), 1);
    }

    #[test]
    fn need_counts_people() {
        let rule = Approvers(vec![Group {
            any_of: vec![Approver::Role(code("finance")), Approver::OrgRole(code("admin"))],
            need: 2,
        }]);
        assert_eq!(rule.missing(&[with(&["finance"], &["admin"])]), 1);
        assert_eq!(rule.missing(&[with(&["finance"], &[]), with(&[], &["admin"])]), 0);
        assert_eq!(rule.missing(&[with(&["other"], &[]), with(&[], &["member"])]), 2);
    }

    #[test]
    fn a_rule_without_seats_is_never_satisfied() {
        assert_eq!(Approvers(Vec::new()).missing(&[Capacity::default()]), 1);
    }
}
