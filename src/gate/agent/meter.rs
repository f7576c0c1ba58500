//! What a call of a language model has cost, read from its answer while that passes.
//!
//! Law: nothing waits for it. Pieces are looked at on their way and never held back; what cannot be
//! told stays unknown, and then the whole reservation is charged. Zero is a value; absent is not.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::Value;

use crate::base::MicroUsd;
use crate::config::{Llm, TokenPrices};

/// A longer answer, or line of a stream, is not read: what it cost stays unknown.
const TEXT_MAX: usize = 4 * 1024 * 1024;
const LINE_MAX: usize = 256 * 1024;
/// What makes an event worth reading.
const USAGE: &str = "\"usage\"";
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(USAGE));

/// Reads one answer.
#[derive(Debug)]
pub(in crate::gate) struct Meter {
    style: Llm,
    prices: TokenPrices,
    form: Form,
    /// What is here of the text, or of a stream's last line.
    text: Vec<u8>,
    is_too_long: bool,
    input: Option<u64>,
    output: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Events,
    /// Nothing that is read here.
    Other,
}

impl Meter {
    pub fn new(style: Llm, prices: TokenPrices) -> Self {
        Self {
            style,
            prices,
            form: Form::Other,
            text: Vec::new(),
            is_too_long: false,
            input: None,
            output: None,
        }
    }

    /// The answer has this type.
    pub fn begin(&mut self, content_type: &str) {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        self.form = if kind.eq_ignore_ascii_case("text/event-stream") {
            Form::Events
        } else if kind.eq_ignore_ascii_case("application/json") {
            Form::Json
        } else {
            Form::Other
        };
    }

    pub fn read(&mut self, piece: &[u8]) {
        match self.form {
            Form::Other => {}
            Form::Json => self.keep(piece, TEXT_MAX),
            Form::Events => {
                let mut rest = piece;
                while let Some(end) = memchr::memchr(b'\n', rest) {
                    let line = &rest[..end];
                    // Most lines come whole, and need not be kept.
                    if self.text.is_empty() && !self.is_too_long && end <= LINE_MAX {
                        self.line(line);
                    } else {
                        self.keep(line, LINE_MAX);
                        self.kept_line();
                    }
                    rest = &rest[end + 1..];
                }
                self.keep(rest, LINE_MAX);
            }
        }
    }

    fn keep(&mut self, piece: &[u8], most: usize) {
        if self.text.len() + piece.len() > most {
            self.is_too_long = true;
            self.text = Vec::new();
        }
        if !self.is_too_long {
            self.text.extend_from_slice(piece);
        }
    }

    /// A line of a stream that came in pieces is over.
    fn kept_line(&mut self) {
        let is_read = !std::mem::take(&mut self.is_too_long);
        let line = std::mem::take(&mut self.text);
        if is_read {
            self.line(&line);
        }
        self.text = line;
        self.text.clear();
    }

    /// A line of a stream.
    fn line(&mut self, line: &[u8]) {
        if let Some(data) = line.strip_prefix(b"data:").filter(|data| tells_usage(data))
            && let Ok(event) = serde_json::from_slice::<Value>(data)
        {
            // Anthropic's first event has the input inside `message`.
            self.note(&event["message"]["usage"], What::Input);
            let what = if event["type"] == "message_start" { What::Input } else { What::Both };
            self.note(&event["usage"], what);
        }
    }

    fn note(&mut self, usage: &Value, what: What) {
        let number = |name: &str| usage[name].as_u64();
        let (input, output) = match self.style {
            Llm::Openai => (number("prompt_tokens"), number("completion_tokens")),
            Llm::Anthropic => {
                let cached = ["cache_creation_input_tokens", "cache_read_input_tokens"];
                let cached: u64 = cached.iter().filter_map(|name| number(name)).sum();
                (number("input_tokens").map(|input| input + cached), number("output_tokens"))
            }
        };
        self.input = input.or(self.input);
        if what == What::Both {
            self.output = output.or(self.output);
        }
    }

    /// What it cost, where the answer has said so.
    pub fn cost(mut self) -> Option<MicroUsd> {
        if self.form == Form::Json && !self.is_too_long {
            let answer: Value = serde_json::from_slice(&self.text).ok()?;
            self.note(&answer["usage"], What::Both);
        }
        self.prices.of(self.input?, self.output?)
    }
}

/// Whether a usage stands in it that is not null, as it is in all but the last event of OpenAI. Text
/// that only speaks of it has other quotes.
fn tells_usage(data: &[u8]) -> bool {
    FINDER.find_iter(data).any(|at| {
        let after = data[at + USAGE.len()..].trim_ascii_start();
        after.strip_prefix(b":").is_some_and(|value| !value.trim_ascii_start().starts_with(b"null"))
    })
}

/// Which part of a usage is final.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Input,
    Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(style: Llm, content_type: &str, text: &str, size: usize) -> Option<i64> {
        let usd = |text| MicroUsd::parse(text).unwrap();
        let mut meter = Meter::new(style, TokenPrices { input: usd("1"), output: usd("100") });
        meter.begin(content_type);
        text.as_bytes().chunks(size).for_each(|piece| meter.read(piece));
        meter.cost().map(MicroUsd::as_micros)
    }

    const OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    const ANTHROPIC: &str = "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
        {\"input_tokens\":5,\"cache_read_input_tokens\":2,\"output_tokens\":1}}}\r\n\r\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":3}}\r\n\r\n";

    #[test]
    fn usage_is_read_from_json_and_from_streams_however_they_are_cut() {
        for size in [1, 2, 7, 4096] {
            assert_eq!(cost(Llm::Openai, "text/event-stream; charset=utf-8", OPENAI, size), Some(307));
            assert_eq!(cost(Llm::Anthropic, "text/event-stream", ANTHROPIC, size), Some(307));
            let json = r#"{"id":1,"usage":{"prompt_tokens":7,"completion_tokens":0}}"#;
            assert_eq!(cost(Llm::Openai, "application/json", json, size), Some(7), "zero is a value");
        }
    }

    #[test]
    fn only_events_that_tell_a_usage_are_read() {
        for told in
            [r#"{"usage":{"a":1}}"#, r#"{"usage": null, "message": {"usage" : {}}}"#, r#"{"usage":7}"#]
        {
            assert!(tells_usage(told.as_bytes()), "{told}");
        }
        for silent in [r#"{"usage" : null}"#, r#"{"content":"usage"}"#, r#"{"content":"\"usage\":{}"}"#, "{}"]
        {
            assert!(!tells_usage(silent.as_bytes()), "{silent}");
        }
    }

    #[test]
    fn what_is_not_said_is_unknown() {
        let cut = &OPENAI[..OPENAI.len() - 40];
        assert_eq!(cost(Llm::Openai, "text/event-stream", cut, 64), None);
        let begun = ANTHROPIC.split("data: {\"type\":\"message_delta").next().unwrap();
        assert_eq!(cost(Llm::Anthropic, "text/event-stream", begun, 64), None, "one token is not all");
        for json in [
            "{}",
            r#"{"usage":{"prompt_tokens":7}}"#,
            r#"{"usage":{"prompt_tokens":-7,"completion_tokens":1}}"#,
            "{\"usa",
        ] {
            assert_eq!(cost(Llm::Openai, "application/json", json, 64), None, "{json}");
        }
        assert_eq!(cost(Llm::Openai, "text/plain", OPENAI, 64), None);
    }
}
