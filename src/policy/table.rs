//! Many host and path patterns as one table: finds the one that a request means.
//!
//! Law: the most specific host that has the path at all wins, then the most specific path, then
//! the method decides; the order in which entries came in never matters. A look-up allocates nothing
//! and visits the segments of the path, not the entries of the table.

use std::collections::HashMap;

use http::Method;

use super::pattern::{PARAMS_MAX, Segment};
use super::{Host, Methods, Pattern};

/// One thing to find: `value` under a host (`None` for any), a path and methods.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    pub host: Option<Host>,
    pub pattern: Pattern,
    pub methods: Methods,
    pub value: T,
}

/// Two entries that could both win; the numbers count the entries from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Same host, same paths, and these methods in common.
    Same { first: usize, second: usize, methods: Methods },
    /// Some paths fit both and neither is more specific. An entry with the pattern `both` on the
    /// same host would say which is meant.
    Ambiguous { first: usize, second: usize, both: Pattern },
}

/// The parts of the path that `{name}` segments stood for, as they are in the canonical path.
#[derive(Clone, Copy, Debug)]
pub struct Params<'t, 'p> {
    names: &'t [Box<str>],
    values: [&'p str; PARAMS_MAX],
}

impl<'t, 'p> Params<'t, 'p> {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'p str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// Name and value, left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&'t str, &'p str)> {
        self.names.iter().map(|name| &**name).zip(self.values)
    }
}

/// What a table says about a request.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack of one request; a box would be an allocation"
)]
pub enum Found<'t, 'p, T> {
    Entry(&'t T, Params<'t, 'p>),
    /// The path is known, the method is not: 405 with these as `Allow`.
    WrongMethod(Methods),
    Nothing,
}

#[derive(Clone, Debug)]
struct Leaf<T> {
    methods: Methods,
    names: Box<[Box<str>]>,
    value: T,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    param: Option<usize>,
    /// Shapes that end here, and that end here with `**`: indexes into `Tree::shapes`.
    end: Option<usize>,
    rest: Option<usize>,
}

/// The patterns of one host.
#[derive(Clone, Debug)]
struct Tree<T> {
    nodes: Vec<Node>,
    /// Entries that differ only in methods and names of parameters, with their place in the list.
    shapes: Vec<Vec<(usize, Leaf<T>)>>,
    patterns: Vec<Pattern>,
}

/// A set of entries, ready to be asked.
#[derive(Clone, Debug)]
pub struct Table<T> {
    exact: HashMap<Box<str>, Tree<T>>,
    suffixes: HashMap<Box<str>, Tree<T>>,
    any: Tree<T>,
}

impl<T> Table<T> {
    /// Builds the table.
    ///
    /// # Errors
    /// Every [`Clash`] among the entries.
    pub fn build(entries: impl IntoIterator<Item = Entry<T>>) -> Result<Self, Vec<Clash>> {
        let mut table = Self { exact: HashMap::new(), suffixes: HashMap::new(), any: Tree::new() };
        let mut clashes = Vec::new();
        for (at, entry) in entries.into_iter().enumerate() {
            let tree = match entry.host {
                None => &mut table.any,
                Some(Host::Exact(name)) => table.exact.entry(name).or_insert_with(Tree::new),
                Some(Host::OneLabelBefore(suffix)) => table.suffixes.entry(suffix).or_insert_with(Tree::new),
            };
            tree.insert(at, entry.pattern, entry.methods, entry.value, &mut clashes);
        }
        for tree in table.exact.values().chain(table.suffixes.values()).chain([&table.any]) {
            tree.find_ambiguous(&mut clashes);
        }
        if clashes.is_empty() { Ok(table) } else { Err(clashes) }
    }

    /// What is meant by a canonical host (lower case, no port), a canonical path and a method.
    #[must_use]
    pub fn find<'t, 'p>(&'t self, host: &str, path: &'p str, method: &Method) -> Found<'t, 'p, T> {
        let suffix = host.find('.').map(|dot| &host[dot..]);
        let trees = [
            self.exact.get(host),
            suffix.filter(|suffix| suffix.len() < host.len()).and_then(|suffix| self.suffixes.get(suffix)),
            Some(&self.any),
        ];
        let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
        for tree in trees.into_iter().flatten() {
            let mut values = Values { texts: [""; PARAMS_MAX], count: 0 };
            if let Some(shape) = tree.walk(0, Some(path), &mut values) {
                return tree.choose(shape, &values, method);
            }
        }
        Found::Nothing
    }
}

/// Values of parameters while the tree is walked.
struct Values<'p> {
    texts: [&'p str; PARAMS_MAX],
    count: usize,
}

impl<T> Tree<T> {
    fn new() -> Self {
        Self { nodes: vec![Node::default()], shapes: Vec::new(), patterns: Vec::new() }
    }

    fn insert(&mut self, at: usize, pattern: Pattern, methods: Methods, value: T, clashes: &mut Vec<Clash>) {
        let mut node = 0;
        let mut is_rest = false;
        for segment in pattern.segments() {
            let next = self.nodes.len();
            let child = match segment {
                Segment::Literal(own) => *self.nodes[node].literals.entry(own.clone()).or_insert(next),
                Segment::Param(_) => *self.nodes[node].param.get_or_insert(next),
                Segment::Rest => {
                    is_rest = true;
                    break;
                }
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            node = child;
        }
        let names = pattern.params().map(Box::from).collect();
        let next = self.shapes.len();
        let slot = if is_rest { &mut self.nodes[node].rest } else { &mut self.nodes[node].end };
        let shape = *slot.get_or_insert(next);
        if shape == next {
            self.shapes.push(Vec::new());
            self.patterns.push(pattern);
        }
        for (first, leaf) in &self.shapes[shape] {
            let shared = leaf.methods.shared_with(methods);
            if !shared.is_empty() {
                clashes.push(Clash::Same { first: *first, second: at, methods: shared });
            }
        }
        self.shapes[shape].push((at, Leaf { methods, names, value }));
    }

    /// Literal before parameter before `**`, at every segment from the left: among the patterns
    /// that fit, that is the one contained in all others, because [`Clash`] left no other case.
    fn walk<'p>(&self, node: usize, path: Option<&'p str>, values: &mut Values<'p>) -> Option<usize> {
        let node = &self.nodes[node];
        let Some(path) = path else { return node.end.or(node.rest) };
        let (part, rest) = match path.find('/') {
            Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
            None => (path, None),
        };
        if let Some(child) = node.literals.get(part)
            && let Some(shape) = self.walk(*child, rest, values)
        {
            return Some(shape);
        }
        if let Some(child) = node.param
            && !part.is_empty()
            && values.count < PARAMS_MAX
        {
            values.texts[values.count] = part;
            values.count += 1;
            if let Some(shape) = self.walk(child, rest, values) {
                return Some(shape);
            }
            values.count -= 1;
        }
        node.rest
    }

    fn choose<'t, 'p>(&'t self, shape: usize, values: &Values<'p>, method: &Method) -> Found<'t, 'p, T> {
        let leaves = &self.shapes[shape];
        match leaves.iter().find(|(_, leaf)| leaf.methods.contains(method)) {
            Some((_, leaf)) => Found::Entry(&leaf.value, Params { names: &leaf.names, values: values.texts }),
            None => {
                Found::WrongMethod(leaves.iter().fold(Methods::NONE, |all, (_, leaf)| all.with(leaf.methods)))
            }
        }
    }

    fn find_ambiguous(&self, clashes: &mut Vec<Clash>) {
        for (shape, pattern) in self.patterns.iter().enumerate() {
            let mut others = Vec::new();
            self.overlapping(0, pattern.segments(), &mut others);
            for other in others.into_iter().filter(|other| *other > shape) {
                let theirs = &self.patterns[other];
                if pattern.contains(theirs) || theirs.contains(pattern) {
                    continue;
                }
                if let Some(both) = pattern.meet(theirs)
                    && !self.has_shape(&both)
                {
                    let (first, second) = (self.shapes[shape][0].0, self.shapes[other][0].0);
                    clashes.push(Clash::Ambiguous {
                        first: first.min(second),
                        second: first.max(second),
                        both,
                    });
                }
            }
        }
    }

    /// The shapes that share at least one path with the pattern.
    fn overlapping(&self, node: usize, segments: &[Segment], shapes: &mut Vec<usize>) {
        let node = &self.nodes[node];
        shapes.extend(node.rest);
        match segments.split_first() {
            None => shapes.extend(node.end),
            Some((Segment::Literal(own), rest)) => {
                let param = node.param.filter(|_| !own.is_empty());
                for child in node.literals.get(own).copied().into_iter().chain(param) {
                    self.overlapping(child, rest, shapes);
                }
            }
            Some((Segment::Param(_), rest)) => {
                let literals =
                    node.literals.iter().filter(|(own, _)| !own.is_empty()).map(|(_, child)| *child);
                for child in literals.chain(node.param) {
                    self.overlapping(child, rest, shapes);
                }
            }
            Some((Segment::Rest, _)) => {
                shapes.extend(node.end);
                for child in node.literals.values().copied().chain(node.param) {
                    self.overlapping(child, segments, shapes);
                }
            }
        }
    }

    fn has_shape(&self, pattern: &Pattern) -> bool {
        let mut node = &self.nodes[0];
        for segment in pattern.segments() {
            let child = match segment {
                Segment::Literal(own) => node.literals.get(own).copied(),
                Segment::Param(_) => node.param,
                Segment::Rest => return node.rest.is_some(),
            };
            let Some(child) = child else { return false };
            node = &self.nodes[child];
        }
        node.end.is_some()
    }
}

#[cfg(test)]
mod tests;
