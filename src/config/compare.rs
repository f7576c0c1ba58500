//! `when` of a hold: one value in the JSON body of a request, and what about it makes the request wait.
//!
//! Law: there is exactly one comparison, and it can tell some requests from others.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::place::Place;
use super::problem::Report;

/// A value in the JSON body, compared. Exactly one comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Where the value stands (RFC 6901): `/amount`, `/items/0/price`.
    pub pointer: String,
    /// A number greater than this waits.
    pub above: Option<Threshold>,
    /// This number and greater ones wait.
    pub at_least: Option<Threshold>,
    /// A number less than this waits.
    pub below: Option<Threshold>,
    /// This number and lesser ones wait.
    pub at_most: Option<Threshold>,
    /// Exactly this waits.
    pub equals: Option<Scalar>,
    /// Each of these waits.
    #[serde(rename = "in")]
    #[schemars(length(min = 1))]
    pub listed: Option<Vec<Scalar>>,
    /// Everything but these waits.
    #[serde(rename = "not_in")]
    #[schemars(length(min = 1))]
    pub unlisted: Option<Vec<Scalar>>,
    /// `true`: whatever stands there waits; `false`: what has nothing there waits.
    pub present: Option<bool>,
}

/// A number to compare with. What a file can say is a number.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Threshold(pub f64);

impl Eq for Threshold {}

/// Something that a value may be equal to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Flag(bool),
    Number(Threshold),
    Text(String),
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test<'a> {
    Above(f64),
    AtLeast(f64),
    Below(f64),
    AtMost(f64),
    In(&'a [Scalar]),
    NotIn(&'a [Scalar]),
    Present,
    Absent,
}

impl Test<'_> {
    /// The word of the configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Above(_) => "above",
            Self::AtLeast(_) => "at_least",
            Self::Below(_) => "below",
            Self::AtMost(_) => "at_most",
            Self::In(_) => "in",
            Self::NotIn(_) => "not_in",
            Self::Present => "present",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Display for Test<'_> {
    /// As the end of a sentence about a value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(bound) => write!(f, "is above {bound}"),
            Self::AtLeast(bound) => write!(f, "is at least {bound}"),
            Self::Below(bound) => write!(f, "is below {bound}"),
            Self::AtMost(bound) => write!(f, "is at most {bound}"),
            Self::In(list) => write!(f, "is {}", joined(list)),
            Self::NotIn(list) => write!(f, "is not {}", joined(list)),
            Self::Present => f.write_str("is there"),
            Self::Absent => f.write_str("is not there"),
        }
    }
}

fn joined(list: &[Scalar]) -> String {
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    list.join(" or ")
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(is_so) => is_so.fmt(f),
            Self::Number(Threshold(number)) => number.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pointer.is_empty() { "the body" } else { &self.pointer })?;
        self.tests().try_for_each(|test| write!(f, " {test}"))
    }
}

impl Comparison {
    /// Its comparisons; one of a checked configuration.
    pub fn tests(&self) -> impl Iterator<Item = Test<'_>> {
        let bound = |bound: Option<Threshold>| bound.map(|Threshold(number)| number);
        [
            bound(self.above).map(Test::Above),
            bound(self.at_least).map(Test::AtLeast),
            bound(self.below).map(Test::Below),
            bound(self.at_most).map(Test::AtMost),
            self.equals.as_ref().map(|scalar| Test::In(std::slice::from_ref(scalar))),
            self.listed.as_deref().map(Test::In),
            self.unlisted.as_deref().map(Test::NotIn),
            self.present.map(|is_wanted| if is_wanted { Test::Present } else { Test::Absent }),
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn check(&self, place: &Place, report: &mut Report) {
        if !is_pointer(&self.pointer) {
            report
                .problem(&place.key("pointer"), format!("`{}` is not a JSON pointer", self.pointer))
                .hint("begin with `/`: `/amount`; `~` is written `~0` and a `/` inside a name `~1`");
        }
        let bounds = [self.above, self.at_least, self.below, self.at_most];
        let are_finite = bounds.iter().flatten().all(|bound| bound.0.is_finite());
        if self.tests().count() != 1 || !are_finite {
            report
                .problem(place, "exactly one comparison")
                .hint("one of `above`, `at_least`, `below`, `at_most`, `equals`, `in`, `not_in`, `present`");
        }
        for (key, list) in [("in", &self.listed), ("not_in", &self.unlisted)] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                report.problem(&place.key(key), "nothing to compare with");
            }
        }
    }
}

/// RFC 6901: nothing, or parts that begin with a slash, in which `~` is followed by 0 or 1.
fn is_pointer(text: &str) -> bool {
    let is_escaped = |part: &str| part.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.is_empty() || text.starts_with('/') && is_escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_one_of_its_standard() {
        for good in ["", "/", "/a", "/a/0/b~0c~1d"] {
            assert!(is_pointer(good), "{good}");
        }
        for bad in ["a", "a/b", "/a~", "/a~2", "/~/b"] {
            assert!(!is_pointer(bad), "{bad}");
        }
    }
}
