//! Plots: drawn by the server as SVG, with the numbers in a table beside them.
//!
//! Law: nothing runs and nothing is loaded. A plot has a title and says in words what it draws; colours are those
//! of the style sheet, and no number is told by colour alone.

use maud::{Markup, html};

use crate::web::exact::text;

/// How large the field is that is drawn on, and what is left free beside it.
const WIDE: f64 = 640.0;
const HIGH: f64 = 200.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;
/// How high one of some rows is.
const ROW: f64 = 24.0;
/// How many rows are drawn; the table has all.
const ROWS: usize = 12;

/// Numbers that are drawn in one colour.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) values: Vec<i64>,
}

/// Numbers by day.
pub(super) struct Days {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// As `2026-11-20`, the oldest first.
    pub(super) dates: Vec<String>,
    pub(super) series: Vec<Series>,
}

/// What the axis goes up to, and in which steps: 1, 2 or 5 of some power of ten, so that lines stand at whole
/// numbers that people read at a glance.
fn scale(most: i64) -> (i64, i64) {
    let (mut step, mut factors) = (1_i64, [2, 5, 10].iter().cycle());
    let mut decade = 1_i64;
    while most > step.saturating_mul(4) {
        match factors.next() {
            Some(10) => {
                decade = decade.saturating_mul(10);
                step = decade;
            }
            Some(factor) => step = decade.saturating_mul(*factor),
            None => break,
        }
        if step == i64::MAX {
            break;
        }
    }
    let lines = most.max(1).saturating_add(step - 1) / step;
    (lines.saturating_mul(step), step)
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
fn share(value: i64, of: i64) -> f64 {
    value.max(0) as f64 / of.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
const fn place(at: usize) -> f64 {
    at as f64
}

/// A coordinate, to the tenth.
fn at(value: f64) -> String {
    format!("{value:.1}")
}

impl Days {
    fn value(&self, series: usize, day: usize) -> i64 {
        self.series.get(series).and_then(|own| own.values.get(day)).copied().unwrap_or_default()
    }

    fn total(&self, series: usize) -> i64 {
        self.series.get(series).map(|own| own.values.iter().sum::<i64>()).unwrap_or_default()
    }

    /// Of all series together: they stand on each other.
    fn most(&self) -> i64 {
        let of_day = |day| (0..self.series.len()).map(|series| self.value(series, day)).sum::<i64>();
        (0..self.dates.len()).map(of_day).max().unwrap_or_default()
    }

    /// What it shows, in a sentence.
    fn said(&self) -> String {
        let (Some(first), Some(last)) = (self.dates.first(), self.dates.last()) else {
            return "No days.".to_owned();
        };
        let totals: Vec<String> = (0..self.series.len())
            .map(|series| format!("{} {}", self.total(series), self.series[series].name))
            .collect();
        format!("From {first} to {last}: {}; at most {} on one day.", totals.join(", "), self.most())
    }

    pub(super) fn drawn(&self) -> Markup {
        let (title, told) = (format!("{}-title", self.id), format!("{}-told", self.id));
        html! {
            figure.plot aria-labelledby=(title) {
                figcaption id=(title) { (self.title) }
                p.key { @for own in &self.series { span class=(format!("key {}", own.class)) {} " " (own.name) " " } }
                svg viewBox=(format!("0 0 {WIDE} {HIGH}")) role="img" aria-labelledby=(format!("{title} {told}")) {
                    desc id=(told) { (self.said()) }
                    (self.lines())
                    (self.bars())
                    (self.ends())
                }
                (self.table())
            }
        }
    }

    fn lines(&self) -> Markup {
        let (top, step) = scale(self.most());
        let high = HIGH - TOP - BOTTOM;
        let lines: Vec<(f64, i64)> = (0..=top / step)
            .map(|line| line * step)
            .map(|value| (TOP + high * (1.0 - share(value, top)), value))
            .collect();
        html! {
            @for (y, value) in &lines {
                line class="grid" x1=(at(LEFT)) x2=(at(WIDE - RIGHT)) y1=(at(*y)) y2=(at(*y)) {}
                text class="axis end" x=(at(LEFT - 6.0)) y=(at(y + 4.0)) { (value) }
            }
        }
    }

    fn bars(&self) -> Markup {
        let (top, _) = scale(self.most());
        let high = HIGH - TOP - BOTTOM;
        let slot = (WIDE - LEFT - RIGHT) / place(self.dates.len().max(1));
        let mut all = Vec::new();
        for (day, date) in self.dates.iter().enumerate() {
            let mut below = 0;
            for (series, own) in self.series.iter().enumerate() {
                let value = self.value(series, day);
                if value > 0 {
                    let (y, tall) =
                        (HIGH - BOTTOM - high * share(below + value, top), high * share(value, top));
                    all.push((
                        LEFT + slot * (place(day) + 0.1),
                        y,
                        tall,
                        own,
                        format!("{date}: {value} {}", own.name),
                    ));
                    below += value;
                }
            }
        }
        html! {
            @for (x, y, tall, own, told) in &all {
                rect class=(own.class) x=(at(*x)) y=(at(*y)) width=(at(slot * 0.8)) height=(at(*tall)) { title { (told) } }
            }
        }
    }

    /// The first and the last day below.
    fn ends(&self) -> Markup {
        let y = at(HIGH - 6.0);
        html! {
            @if let Some(first) = self.dates.first() { text.axis x=(at(LEFT)) y=(y) { (text(first)) } }
            @if let Some(last) = self.dates.last() { text class="axis end" x=(at(WIDE - RIGHT)) y=(y) { (text(last)) } }
        }
    }

    fn table(&self) -> Markup {
        let label = format!("{}, day by day", self.title);
        html! {
            details {
                summary { "As numbers" }
                div.table tabindex="0" role="region" aria-label=(label) {
                    table {
                        caption { (label) }
                        thead { tr { th scope="col" { "Day" } @for own in &self.series { th scope="col" { (own.name) } } } }
                        tbody {
                            @for (day, date) in self.dates.iter().enumerate() {
                                tr {
                                    th scope="row" { (text(date)) }
                                    @for series in 0..self.series.len() { td { (self.value(series, day)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Numbers by name, the largest first: rows beside each other, and the table that says them.
pub(super) fn ranked(id: &str, title: &str, all: &[(&str, i64)]) -> Markup {
    if all.is_empty() {
        return html! {};
    }
    let mut all = all.to_vec();
    all.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let most = all.first().map(|(_, count)| *count).unwrap_or_default();
    let drawn = &all[..all.len().min(ROWS)];
    let high = ROW * place(drawn.len());
    let (label, told) = (format!("{id}-title"), format!("{id}-told"));
    let first = drawn.first().map(|(name, count)| format!("Most: {name}, {count}.")).unwrap_or_default();
    html! {
        figure.plot aria-labelledby=(label) {
            figcaption id=(label) { (title) }
            svg.rows-drawn viewBox=(format!("0 0 {WIDE} {high}")) role="img" aria-labelledby=(format!("{label} {told}")) {
                desc id=(told) { (text(&first)) }
                @for (row, (name, count)) in drawn.iter().enumerate() {
                    rect.plain x="240" y=(at(ROW * place(row) + 4.0)) width=(at(340.0 * share(*count, most))) height=(at(ROW - 8.0)) {}
                    text class="axis end" x="232" y=(at(ROW * place(row) + 16.0)) { (short(name)) }
                    text.axis x=(at(246.0 + 340.0 * share(*count, most))) y=(at(ROW * place(row) + 16.0)) { (count) }
                }
            }
            details {
                summary { "As numbers" }
                div.table tabindex="0" role="region" aria-label=(title) {
                    table {
                        caption { (title) }
                        thead { tr { th scope="col" { "What" } th scope="col" { "How many" } } }
                        tbody { @for (name, count) in &all { tr { th scope="row" { (text(name)) } td { (count) } } } }
                    }
                }
            }
        }
    }
}

/// As much of a name as there is room for; the table has it whole. What cannot be seen is written out, without
/// the mark, which pictures do not know.
fn short(name: &str) -> String {
    let seen = crate::base::visible(name.as_bytes());
    if seen.chars().count() <= 30 { seen } else { seen.chars().take(29).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_go_up_to_what_there_is_in_steps_that_people_read() {
        for (most, expected) in [
            (0, (1, 1)),
            (1, (1, 1)),
            (4, (4, 1)),
            (5, (6, 2)),
            (8, (8, 2)),
            (9, (10, 5)),
            (20, (20, 5)),
            (21, (30, 10)),
            (137, (150, 50)),
            (999, (1000, 500)),
        ] {
            assert_eq!(scale(most), expected, "{most}");
        }
        let (top, step) = scale(i64::MAX);
        assert!(top >= i64::MAX / 2 && step > 0);
    }

    #[test]
    fn a_plot_is_a_picture_with_words_and_its_numbers_stand_beside_it() {
        let plot = Days {
            id: "logins",
            title: "Logins",
            dates: vec!["2026-11-19".to_owned(), "2026-11-20".to_owned()],
            series: vec![
                Series { name: "let in", class: "good", values: vec![3, 4] },
                Series { name: "turned away", class: "bad", values: vec![0, 6] },
            ],
        };
        let drawn = plot.drawn().into_string();
        assert!(
            drawn.contains("From 2026-11-19 to 2026-11-20: 7 let in, 6 turned away; at most 10 on one day.")
        );
        assert_eq!(drawn.matches("<rect").count(), 3, "what is nothing is not drawn: {drawn}");
        assert!(drawn.contains("2026-11-20: 6 turned away") && drawn.contains("<caption>Logins, day by day"));
        assert!(
            !drawn.contains("style=") && !drawn.contains("<script") && !drawn.contains("http"),
            "{drawn}"
        );
        let empty = Days { id: "none", title: "None", dates: Vec::new(), series: Vec::new() };
        assert!(empty.drawn().into_string().contains("No days."));
    }

    #[test]
    fn rows_are_drawn_the_largest_first_and_names_are_text() {
        let all = [("<b>x</b>", 1), ("a", 5), ("b\u{202e}", 5)];
        let drawn = ranked("by", "By", &all).into_string();
        assert!(
            !drawn.contains("<b>") && !drawn.contains('\u{202e}') && drawn.contains("&lt;b&gt;"),
            "{drawn}"
        );
        assert!(drawn.find(">a<").unwrap() < drawn.find("&lt;b&gt;").unwrap());
        let many: Vec<(String, i64)> = (0..40).map(|at| (format!("n{at}"), at)).collect();
        let many: Vec<(&str, i64)> = many.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        let drawn = ranked("by", "By", &many).into_string();
        assert_eq!(drawn.matches("<rect").count(), ROWS);
        assert_eq!(drawn.matches("scope=\"row\"").count(), 40, "the table has all");
        assert!(ranked("by", "By", &[]).into_string().is_empty());
    }
}
