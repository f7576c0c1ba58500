//! The fields of a deed: how a form asks for them, and what an endpoint is sent of them.
//!
//! Law: nothing is judged here. What was typed goes to the endpoint's own reader, which names what it refuses;
//! a password is never written back into a page.

use maud::{Markup, html};
use serde_json::Value;

use super::deed::{Deed, SURE, Whose};
use crate::web::form::Form;
use crate::web::layout::Viewer;

/// One field.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) kind: Kind,
}

/// How it is asked for, and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text, left out where it is empty.
    Text,
    /// A text that may be empty, and then is.
    Blank,
    /// The same with many lines.
    Area,
    /// A text; null where it is empty.
    OrNull,
    /// A whole number, left out where it is empty.
    Whole,
    /// Sent as it is, left out where it is empty, and not written back.
    Password,
    /// One of these, sent as a text.
    OneOf(&'static [(&'static str, &'static str)]),
    /// One of those that the page offers, sent as a text.
    Offered,
    /// The same, sent as a list of one.
    OfferedAlone,
    /// A list, one in a line.
    Lines,
    /// Always this.
    Is(bool),
    /// Always this.
    Says(&'static str),
}

impl Field {
    pub(super) const fn new(name: &'static str, label: &'static str, kind: Kind) -> Self {
        Self { name, label, kind }
    }

    /// What the endpoint is sent of it.
    pub(super) fn read(&self, form: &Form) -> Option<(String, Value)> {
        let typed = form.text(self.name);
        let value = match self.kind {
            Kind::Is(is) => Value::Bool(is),
            Kind::Says(word) => Value::from(word),
            Kind::Blank | Kind::Area => {
                if !form.has(self.name) {
                    return None;
                }
                Value::from(typed.replace("\r\n", "\n"))
            }
            Kind::Lines => {
                if !form.has(self.name) {
                    return None;
                }
                let lines = typed.lines().map(str::trim).filter(|line| !line.is_empty());
                Value::Array(lines.map(Value::from).collect())
            }
            Kind::OrNull if typed.is_empty() => Value::Null,
            _ if typed.is_empty() => return None,
            Kind::Whole => typed.trim().parse::<u64>().map_or_else(|_| Value::from(typed), Value::from),
            Kind::OfferedAlone => Value::Array(vec![Value::from(typed)]),
            Kind::Text | Kind::OrNull | Kind::Password | Kind::OneOf(_) | Kind::Offered => Value::from(typed),
        };
        Some((self.name.to_owned(), value))
    }

    /// Whether somebody is asked for it.
    const fn is_asked(&self) -> bool {
        !matches!(self.kind, Kind::Is(_) | Kind::Says(_))
    }
}

/// A form of a deed, as a page wants it.
pub(super) struct Shape<'a> {
    deed: &'static Deed,
    viewer: &'a Viewer<'a>,
    id: &'a str,
    /// What is known already and not asked for.
    carried: Vec<(&'static str, &'a str)>,
    /// What stands in fields to begin with.
    begun: Vec<(&'static str, String)>,
    offers: Vec<(&'static str, Vec<(String, String)>)>,
    typed: Option<&'a Form>,
    /// Of what, for those who hear buttons without what stands beside them.
    of: &'a str,
}

impl<'a> Shape<'a> {
    pub(super) const fn of(deed: &'static Deed, viewer: &'a Viewer<'a>) -> Self {
        Self {
            deed,
            viewer,
            id: "",
            carried: Vec::new(),
            begun: Vec::new(),
            offers: Vec::new(),
            typed: None,
            of: "",
        }
    }

    /// Done to what has this id.
    pub(super) const fn about(mut self, id: &'a str) -> Self {
        self.id = id;
        self
    }

    /// With a field that nobody is asked for.
    pub(super) fn carrying(mut self, name: &'static str, value: &'a str) -> Self {
        self.carried.push((name, value));
        self
    }

    pub(super) fn beginning(mut self, name: &'static str, value: &str) -> Self {
        self.begun.push((name, value.to_owned()));
        self
    }

    /// With these to choose from: what is sent, and what is read.
    pub(super) fn offering(mut self, name: &'static str, all: Vec<(String, String)>) -> Self {
        self.offers.push((name, all));
        self
    }

    pub(super) const fn typed(mut self, form: &'a Form) -> Self {
        self.typed = Some(form);
        self
    }

    pub(super) const fn named(mut self, of: &'a str) -> Self {
        self.of = of;
        self
    }

    fn asked(&self) -> impl Iterator<Item = &'static Field> {
        let is_carried = |name: &str| self.carried.iter().any(|(own, _)| *own == name);
        let open = self.deed.fields.iter().filter(|field| field.is_asked());
        open.filter(move |field| !is_carried(field.name))
    }

    /// Whether there is anything that somebody could type.
    pub(super) fn asks_anything(&self) -> bool {
        self.asked().next().is_some()
    }

    fn value(&self, name: &str) -> String {
        if let Some(form) = self.typed {
            return form.text(name).to_owned();
        }
        self.begun.iter().find(|(own, _)| *own == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The names of fields that stand for what it is done to.
    fn pointed_at(&self) -> Option<&'static str> {
        match self.deed.whose {
            Whose::Field(name) | Whose::Within(name) => Some(name),
            Whose::Nobody | Whose::Path | Whose::Organization => None,
        }
    }

    /// What a form carries that nobody types.
    fn hidden(&self) -> Markup {
        let typed = self.pointed_at().zip(self.typed).map(|(name, form)| (name, form.text(name)));
        html! {
            (self.viewer.proof())
            @for (name, value) in self.carried.iter().copied().chain(typed) {
                input type="hidden" name=(name) value=(value);
            }
        }
    }

    /// The whole form, or nothing where the person may not do it.
    pub(super) fn whole(&self) -> Markup {
        if !self.deed.asks.is_for(self.viewer.person) {
            return html! {};
        }
        html! {
            form method="post" action=(self.deed.place(self.id)) {
                (self.hidden())
                @for field in self.asked() { (self.input(field)) }
                button class=[self.class()] type="submit" aria-label=[self.label()] { (self.deed.does) }
            }
        }
    }

    /// The same behind a line that opens it, as long as nobody wants it.
    pub(super) fn folded(&self) -> Markup {
        if !self.deed.asks.is_for(self.viewer.person) {
            return html! {};
        }
        html! { details { summary class=[self.deed.sure.map(|_| "grave")] { (self.deed.does) } (self.whole()) } }
    }

    /// What asks once more: what was typed goes along, and a box says that it is meant.
    pub(super) fn confirming(&self) -> Markup {
        let typed =
            |field: &Field| self.typed.filter(|form| form.has(field.name)).map(|form| form.text(field.name));
        html! {
            form method="post" action=(self.deed.place(self.id)) {
                (self.hidden())
                @for field in self.asked() {
                    @if let Some(value) = typed(field) { input type="hidden" name=(field.name) value=(value); }
                }
                label.tick { input type="checkbox" name=(SURE) value="yes" required; " Yes, I mean it" }
                button.no type="submit" { (self.deed.does) }
            }
        }
    }

    fn class(&self) -> Option<&'static str> {
        if self.deed.sure.is_some() {
            Some("no")
        } else if self.asks_anything() {
            None
        } else {
            Some("quiet")
        }
    }

    fn label(&self) -> Option<String> {
        (!self.of.is_empty()).then(|| format!("{}: {}", self.deed.does, self.of))
    }

    fn input(&self, field: &Field) -> Markup {
        let (name, value) = (field.name, self.value(field.name));
        // Unique on a page, also where a deed stands there more than once.
        let about = self.carried.iter().map(|(_, value)| *value).collect::<Vec<_>>().join("-");
        let place = self.deed.at.trim_matches('/').replace("portcullis/admin/", "").replace("/{id}", "");
        let id = format!("{place}/{name}/{about}").replace('/', "-");
        let offered = self.offers.iter().find(|(own, _)| *own == name).map(|(_, all)| all);
        html! {
            label for=(id) { (field.label) }
            @match (field.kind, offered) {
                (Kind::OneOf(all), _) => {
                    select id=(id) name=(name) {
                        @for (own, word) in all { option value=(own) selected[*own == value] { (word) } }
                    }
                },
                (_, Some(all)) => {
                    select id=(id) name=(name) required {
                        @for (own, word) in all { option value=(own) selected[*own == value] { (word) } }
                    }
                },
                (Kind::Area | Kind::Lines, _) => {
                    textarea id=(id) name=(name) rows="3" { (value) }
                },
                (Kind::Whole, _) => {
                    input id=(id) name=(name) type="text" inputmode="numeric" maxlength="12" autocomplete="off" value=(value);
                },
                (Kind::Password, _) => {
                    input id=(id) name=(name) type="password" autocomplete="new-password";
                },
                _ => {
                    input id=(id) name=(name) type="text" maxlength="500" autocomplete="off" autocapitalize="off"
                        spellcheck="false" value=(value);
                },
            }
        }
    }
}
