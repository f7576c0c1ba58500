//! Path patterns: segments, specificity, overlap.
//!
//! Law: a pattern is compared with whole segments of a canonical path, never with raw text.
//! `{name}` is one non-empty segment, a final `**` is the rest and the empty rest; everything else
//! is literal and case-sensitive. `/a` and `/a/` differ.

use std::fmt;

/// How many `{name}` segments one pattern may have, so that a match needs no allocation.
pub const PARAMS_MAX: usize = 16;
/// How many segments one pattern may have.
pub const SEGMENTS_MAX: usize = 64;

/// One part of a path pattern between two slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
    /// `**`: the rest of the path, or nothing at all. Only ever the last.
    Rest,
}

/// A path pattern such as `/invoices/{id}/pay` or `/reports/**`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// Why a text is not a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAPattern {
    NoLeadingSlash,
    EmptySegment,
    DotSegment,
    /// A character that no canonical path has at this place.
    Character(char),
    Percent,
    /// `{`, `}` or `*` as part of a segment instead of a whole one.
    PartOfSegment,
    ParamName,
    ParamTwice(String),
    RestNotLast,
    TooLong,
}

impl fmt::Display for NotAPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeadingSlash => f.write_str("a path begins with `/`"),
            Self::EmptySegment => f.write_str("`//` never occurs in a path that is let in"),
            Self::DotSegment => f.write_str("`.` and `..` never occur in a path that is let in"),
            Self::Character(c) => write!(f, "`{}` cannot stand in a path", c.escape_default()),
            Self::Percent => f.write_str(
                "`%` needs two upper-case hex digits, and letters, digits, `-._~` and `/` are never written so",
            ),
            Self::PartOfSegment => f.write_str("`{name}` and `**` stand alone between slashes"),
            Self::ParamName => f.write_str("a parameter is `{name}` with letters, digits and `_`"),
            Self::ParamTwice(name) => write!(f, "the parameter `{name}` occurs twice"),
            Self::RestNotLast => f.write_str("`**` is only possible at the end"),
            Self::TooLong => write!(f, "at most {SEGMENTS_MAX} segments and {PARAMS_MAX} parameters"),
        }
    }
}

impl std::error::Error for NotAPattern {}

impl Pattern {
    /// # Errors
    /// [`NotAPattern`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, NotAPattern> {
        let path = text.strip_prefix('/').ok_or(NotAPattern::NoLeadingSlash)?;
        let parts: Vec<&str> = path.split('/').collect();
        let last = parts.len() - 1;
        let mut segments = Vec::with_capacity(parts.len());
        for (at, part) in parts.iter().enumerate() {
            let segment = segment(part)?;
            if part.is_empty() && at != last {
                return Err(NotAPattern::EmptySegment);
            }
            if segment == Segment::Rest && at != last {
                return Err(NotAPattern::RestNotLast);
            }
            if let Segment::Param(name) = &segment
                && segments.contains(&segment)
            {
                return Err(NotAPattern::ParamTwice(name.to_string()));
            }
            segments.push(segment);
        }
        let params = segments.iter().filter(|s| matches!(s, Segment::Param(_))).count();
        if segments.len() > SEGMENTS_MAX || params > PARAMS_MAX {
            return Err(NotAPattern::TooLong);
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of the parameters, left to right.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(&**name),
            _ => None,
        })
    }

    /// Whether a canonical path fits. The table answers the same for many patterns at once; this
    /// is the definition that its tests compare with.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        let mut parts = path.split('/');
        for (at, segment) in self.segments.iter().enumerate() {
            let part = parts.next();
            let fits = match segment {
                Segment::Rest => return part.is_some() || at > 0,
                Segment::Literal(own) => part == Some(own),
                Segment::Param(_) => part.is_some_and(|part| !part.is_empty()),
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }

    /// Whether every path that fits `other` fits this pattern too.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let mut theirs = other.segments.iter();
        for (at, mine) in self.segments.iter().enumerate() {
            let their = theirs.next();
            let fits = match (mine, their) {
                // `/a/**` fits `/a`, and `/**` everything.
                (Segment::Rest, their) => return their.is_some() || at > 0,
                (Segment::Literal(mine), Some(Segment::Literal(their))) => mine == their,
                (Segment::Param(_), Some(Segment::Literal(their))) => !their.is_empty(),
                (Segment::Param(_), Some(Segment::Param(_))) => true,
                _ => false,
            };
            if !fits {
                return false;
            }
        }
        theirs.next().is_none()
    }

    /// The pattern of exactly those paths that fit both, if there are any.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let mut segments = Vec::new();
        let (mut mine, mut theirs) = (&*self.segments, &*other.segments);
        loop {
            let segment = match (mine.first(), theirs.first()) {
                (None, None) => break,
                (Some(Segment::Rest), Some(Segment::Rest)) => Segment::Rest,
                // The shorter side's `**` leaves the other side as it is, its end included.
                (Some(Segment::Rest), _) => {
                    segments.extend_from_slice(theirs);
                    break;
                }
                (_, Some(Segment::Rest)) => {
                    segments.extend_from_slice(mine);
                    break;
                }
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => {
                    Segment::Literal(a.clone())
                }
                (Some(Segment::Literal(a)), Some(Segment::Param(_)))
                | (Some(Segment::Param(_)), Some(Segment::Literal(a)))
                    if !a.is_empty() =>
                {
                    Segment::Literal(a.clone())
                }
                (Some(Segment::Param(a)), Some(Segment::Param(_))) => Segment::Param(a.clone()),
                _ => return None,
            };
            segments.push(segment);
            (mine, theirs) = (&mine[1..], &theirs[1..]);
        }
        Some(Self { text: write(&segments), segments: segments.into() })
    }

    /// Whether both fit exactly the same paths: equal but for the names of parameters.
    #[must_use]
    pub fn same_shape(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len() && self.contains(other) && other.contains(self)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn write(segments: &[Segment]) -> Box<str> {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Literal(own) => text.push_str(own),
            Segment::Param(name) => {
                text.push('{');
                text.push_str(name);
                text.push('}');
            }
            Segment::Rest => text.push_str("**"),
        }
    }
    text.into()
}

fn segment(part: &str) -> Result<Segment, NotAPattern> {
    if part == "**" {
        return Ok(Segment::Rest);
    }
    if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return if ok { Ok(Segment::Param(name.into())) } else { Err(NotAPattern::ParamName) };
    }
    if part == "." || part == ".." {
        return Err(NotAPattern::DotSegment);
    }
    literal(part)?;
    Ok(Segment::Literal(part.into()))
}

/// A literal must be spelled as the edge's canonical paths are, or it could never match.
fn literal(part: &str) -> Result<(), NotAPattern> {
    let mut rest = part;
    while let Some(c) = rest.chars().next() {
        match c {
            '{' | '}' | '*' => return Err(NotAPattern::PartOfSegment),
            '%' => {
                let hex = rest.get(1..3).ok_or(NotAPattern::Percent)?;
                let upper = hex.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
                let byte = u8::from_str_radix(hex, 16).map_err(|_| NotAPattern::Percent)?;
                if !upper || is_unreserved(byte) || byte == b'/' || byte == b'\\' || byte == 0 {
                    return Err(NotAPattern::Percent);
                }
                rest = &rest[3..];
            }
            _ if c.is_ascii() && (is_unreserved(c as u8) || "!$&'()+,;=:@".contains(c)) => rest = &rest[1..],
            _ => return Err(NotAPattern::Character(c)),
        }
    }
    Ok(())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
pub(super) mod tests;
