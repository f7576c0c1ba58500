//! What a call of a language model has cost, read from its answer while that passes.
//!
//! Law: nothing waits for it. Pieces are noted on their way, never held back, and read when all have
//! passed; what cannot be told stays unknown, and then the whole reservation is charged. Some tell
//! their usage as it grows: it is believed where the answer says that it is over. Zero is a value;
//! absent is not.

use memchr::memmem;
use serde_json::Value;

use super::llm::Input;
use crate::base::MicroUsd;
use crate::config::{Llm, TokenPrices};

/// A longer answer is not read: what it cost stays unknown.
const TEXT_MAX: usize = 4 * 1024 * 1024;
/// Of a stream its beginning is looked at, where one provider tells what went in, and its end, where
/// all of them tell the rest.
const BEGINNING: usize = 8 * 1024;
const END: usize = 16 * 1024;
/// What makes an event worth reading.
const USAGE: &str = "\"usage\"";

/// Reads one answer.
#[derive(Debug)]
pub(in crate::gate) struct Meter {
    style: Llm,
    prices: TokenPrices,
    form: Form,
    /// What came, as far as it is looked at: of a stream at least its last [`END`] bytes.
    text: Vec<u8>,
    beginning: Vec<u8>,
    /// Bytes that came.
    length: usize,
    input: Option<Input>,
    output: Option<u64>,
    /// Whether the event came that alone tells for how long something was written into a cache.
    has_begun: bool,
    /// Whether a stream has said that it is over.
    is_over: bool,
}

/// What an answer has said of its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gate) enum Told {
    Whole(MicroUsd),
    /// It broke off: so much at least.
    Part(MicroUsd),
    Nothing,
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
            beginning: Vec::new(),
            length: 0,
            input: None,
            output: None,
            has_begun: false,
            is_over: false,
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

    /// A piece passes. It is copied and not looked at: most of a stream says nothing of its cost.
    pub fn read(&mut self, piece: &[u8]) {
        self.length = self.length.saturating_add(piece.len());
        match self.form {
            Form::Other => {}
            Form::Json if self.length > TEXT_MAX => self.text = Vec::new(),
            Form::Json => self.text.extend_from_slice(piece),
            Form::Events => {
                let room = BEGINNING.saturating_sub(self.beginning.len());
                self.beginning.extend_from_slice(&piece[..piece.len().min(room)]);
                if self.text.len() + piece.len() > 2 * END {
                    let kept = END.saturating_sub(piece.len());
                    self.text.drain(..self.text.len().saturating_sub(kept));
                }
                self.text.extend_from_slice(&piece[piece.len().saturating_sub(END)..]);
            }
        }
    }

    /// The events of a part of a stream, the last one first: what was said last holds. A line that is
    /// cut off is none.
    fn events(&mut self, part: &[u8]) {
        let Some(end) = memchr::memrchr(b'\n', part) else { return };
        let mut rest = &part[..end];
        loop {
            let begin = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
            self.line(&rest[begin..]);
            if begin == 0 || self.is_told() {
                return;
            }
            rest = &rest[..begin - 1];
        }
    }

    /// Whether what stands further ahead says nothing more.
    const fn is_told(&self) -> bool {
        let has_begun = matches!(self.style, Llm::Openai) || self.has_begun;
        self.input.is_some() && self.output.is_some() && has_begun
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        self.is_over |= self.style == Llm::Openai && data.trim_ascii() == b"[DONE]";
        let is_stop = self.style == Llm::Anthropic && memmem::find(data, b"\"message_stop\"").is_some();
        if !is_stop && !tells_usage(data) {
            return;
        }
        if let Ok(event) = serde_json::from_slice::<Value>(data) {
            let kind = event["type"].as_str().unwrap_or_default();
            self.is_over |= match self.style {
                Llm::Openai => {
                    matches!(kind, "response.completed" | "response.incomplete" | "response.failed")
                }
                Llm::Anthropic => kind == "message_stop",
            };
            self.has_begun |= kind == "message_start";
            self.note(&event["usage"], if kind == "message_start" { What::Input } else { What::Both });
            // Anthropic's first event has the input inside `message`, the last one of a response all of it.
            self.note(&event["message"]["usage"], What::Input);
            self.note(&event["response"]["usage"], What::Both);
        }
    }

    fn note(&mut self, usage: &Value, what: What) {
        let (input, output) = match self.style {
            Llm::Openai => {
                (openai_input(usage), usage["completion_tokens"].as_u64().or(usage["output_tokens"].as_u64()))
            }
            Llm::Anthropic => (anthropic_input(usage), usage["output_tokens"].as_u64()),
        };
        self.input = match (self.style, self.input, input) {
            // Each of its events may leave out what another one says.
            (Llm::Anthropic, Some(known), Some(more)) => Some(most_of(known, more)),
            (_, known, more) => known.or(more),
        };
        if what == What::Both {
            self.output = self.output.or(output);
        }
    }

    /// What it cost, as far as the answer has said so.
    pub fn cost(mut self) -> Told {
        match self.form {
            Form::Other => {}
            Form::Json => {
                let Ok(answer) = serde_json::from_slice::<Value>(&self.text) else { return Told::Nothing };
                self.note(&answer["usage"], What::Both);
                self.is_over = true;
            }
            Form::Events => {
                let (beginning, end) = (std::mem::take(&mut self.beginning), std::mem::take(&mut self.text));
                let is_cut = end.len() < self.length;
                let first =
                    if is_cut { memchr::memchr(b'\n', &end).map_or(end.len(), |at| at + 1) } else { 0 };
                self.events(&end[first..]);
                if is_cut && !self.is_told() {
                    self.events(&beginning);
                }
                if self.style == Llm::Anthropic && !self.has_begun && self.prices.cache_write_1h.is_some() {
                    // Nobody has said for how long, so for long.
                    self.input = self.input.map(as_long);
                }
            }
        }
        let of = |input, output| self.prices.of(input, output);
        match (self.input, self.output) {
            (Some(input), Some(output)) if self.is_over => {
                of(input, output).map_or(Told::Nothing, Told::Whole)
            }
            (None, None) => Told::Nothing,
            (input, output) => {
                of(input.unwrap_or_default(), output.unwrap_or(0)).map_or(Told::Nothing, Told::Part)
            }
        }
    }
}

/// What is read from a cache is part of the prompt. Responses have other names for the same.
fn openai_input(usage: &Value) -> Option<Input> {
    let of =
        |name: &str, details: &str| Some((usage[name].as_u64()?, usage[details]["cached_tokens"].as_u64()));
    let (all, read) = of("prompt_tokens", "prompt_tokens_details")
        .or_else(|| of("input_tokens", "input_tokens_details"))?;
    let read = read.unwrap_or(0).min(all);
    Some(Input { plain: all - read, read, ..Input::default() })
}

/// What is written and read stands beside the rest; what is written for an hour is part of what is
/// written.
fn anthropic_input(usage: &Value) -> Option<Input> {
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let written_1h = number(&usage["cache_creation"]["ephemeral_1h_input_tokens"]);
    Some(Input {
        plain: usage["input_tokens"].as_u64()?,
        written: number(&usage["cache_creation_input_tokens"]).saturating_sub(written_1h),
        written_1h,
        read: number(&usage["cache_read_input_tokens"]),
    })
}

/// The larger of each.
fn most_of(left: Input, right: Input) -> Input {
    let written = |of: Input| of.written.saturating_add(of.written_1h);
    let written_1h = left.written_1h.max(right.written_1h);
    Input {
        plain: left.plain.max(right.plain),
        written: written(left).max(written(right)).saturating_sub(written_1h),
        written_1h,
        read: left.read.max(right.read),
    }
}

/// The same, with all that was written into a cache written for an hour.
const fn as_long(of: Input) -> Input {
    Input { written: 0, written_1h: of.written_1h.saturating_add(of.written), ..of }
}

/// Whether a usage stands in it that is not null, as it is in all but the last event of OpenAI. Text
/// that only speaks of it has other quotes.
fn tells_usage(data: &[u8]) -> bool {
    memmem::find_iter(data, USAGE).any(|at| {
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

    fn prices() -> TokenPrices {
        let usd = |text| MicroUsd::parse(text).unwrap();
        let (cache_write, cache_write_1h) = (Some(usd("10")), Some(usd("20")));
        TokenPrices { input: usd("1"), output: usd("100"), cache_write, cache_write_1h, cache_read: None }
    }

    fn cost(style: Llm, content_type: &str, text: &str, size: usize) -> Option<i64> {
        let mut meter = Meter::new(style, prices());
        meter.begin(content_type);
        text.as_bytes().chunks(size).for_each(|piece| meter.read(piece));
        match meter.cost() {
            Told::Whole(cost) => Some(cost.as_micros()),
            Told::Part(_) | Told::Nothing => None,
        }
    }

    const OPENAI: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n";
    const ANTHROPIC: &str = "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
        {\"input_tokens\":5,\"cache_read_input_tokens\":2,\"output_tokens\":1}}}\r\n\r\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":3}}\r\n\r\n\
        data: {\"type\": \"message_stop\"}\r\n\r\n";

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
    fn a_long_stream_is_read_at_its_beginning_and_its_end() {
        let event = "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"usage\\\"\"}}\n\n";
        let (begin, end) = ANTHROPIC.split_at(ANTHROPIC.find("data: {\"type\":\"message_delta").unwrap());
        for (count, size) in [(10_000, 1_000), (10_000, 16_384), (3_000, 200_000), (700, 7)] {
            let long = format!("{begin}{}{end}", event.repeat(count));
            assert_eq!(cost(Llm::Anthropic, "text/event-stream", &long, size), Some(307), "{count} {size}");
            let long = format!("{}{OPENAI}", event.repeat(count));
            assert_eq!(cost(Llm::Openai, "text/event-stream", &long, size), Some(307), "{count} {size}");
        }
        let mut meter = Meter::new(Llm::Openai, prices());
        meter.begin("text/event-stream");
        (0..50_000).for_each(|_| meter.read(event.as_bytes()));
        assert!(meter.text.capacity() <= 4 * END && meter.beginning.len() == BEGINNING, "it stays small");
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

    #[test]
    fn m7_what_goes_through_caches_is_told_apart_and_no_number_is_too_large() {
        let json =
            |style, usage: &str| cost(style, "application/json", &format!("{{\"usage\":{usage}}}"), 64);
        let written = r#"{"input_tokens":1,"output_tokens":0,"cache_creation_input_tokens":5,"cache_read_input_tokens":3,"cache_creation":{"ephemeral_1h_input_tokens":2}}"#;
        assert_eq!(json(Llm::Anthropic, written), Some(1 + 3 * 10 + 2 * 20 + 3));
        let read =
            r#"{"prompt_tokens":7,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":99}}"#;
        assert_eq!(json(Llm::Openai, read), Some(7));
        let response = r#"{"input_tokens":7,"output_tokens":1,"input_tokens_details":{"cached_tokens":2}}"#;
        assert_eq!(json(Llm::Openai, response), Some(107));
        let huge = u64::MAX;
        for usage in [
            format!(
                r#"{{"input_tokens":{huge},"output_tokens":{huge},"cache_creation_input_tokens":{huge},"cache_read_input_tokens":{huge}}}"#
            ),
            format!(r#"{{"prompt_tokens":{huge},"completion_tokens":{huge}}}"#),
        ] {
            assert_eq!(json(Llm::Anthropic, &usage).or(json(Llm::Openai, &usage)), None, "{usage}");
        }
    }

    #[test]
    fn what_was_cached_for_an_hour_costs_the_same_in_a_stream() {
        let written = |last: &str| {
            format!(
                "data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":5,\"output_tokens\":1,\
                 \"cache_creation_input_tokens\":9,\"cache_creation\":{{\"ephemeral_1h_input_tokens\":6}}}}}}}}\n\n{last}"
            )
        };
        let end = "data: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":5,\"output_tokens\":3,\
                   \"cache_creation_input_tokens\":9}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
        let text = "data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}\n\n";
        let expected = Some(5 + 3 * 10 + 6 * 20 + 3 * 100);
        for count in [0, 1, 10_000] {
            let stream = written(&format!("{}{end}", text.repeat(count)));
            assert_eq!(cost(Llm::Anthropic, "text/event-stream", &stream, 1000), expected, "{count}");
        }
        let headless = format!("{}{end}", text.repeat(10_000));
        let dearest = Some(5 + 9 * 20 + 3 * 100);
        assert_eq!(
            cost(Llm::Anthropic, "text/event-stream", &headless, 1000),
            dearest,
            "nobody said for how long"
        );
    }

    #[test]
    fn l7_a_usage_that_grows_is_believed_when_the_stream_is_over() {
        let running = |output: u32| {
            format!(
                "data: {{\"choices\":[{{}}],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":{output}}}}}\n\n"
            )
        };
        let told = |style, text: &str| {
            let mut meter = Meter::new(style, prices());
            meter.begin("text/event-stream");
            meter.read(text.as_bytes());
            meter.cost()
        };
        let part = |micros| Told::Part(MicroUsd::from_micros(micros).unwrap());
        let whole = |micros| Told::Whole(MicroUsd::from_micros(micros).unwrap());
        let cut = format!("{}{}", running(1), running(2));
        assert_eq!(told(Llm::Openai, &cut), part(207));
        assert_eq!(told(Llm::Openai, &format!("{cut}data: [DONE]\n\n")), whole(207));
        let spoken =
            format!("{cut}data: {{\"choices\":[{{\"delta\":{{\"content\":\"data: [DONE]\\n\"}}}}]}}\n\n");
        assert_eq!(told(Llm::Openai, &spoken), part(207), "who only speaks of it has not ended");
        let (cut, _) = ANTHROPIC.split_at(ANTHROPIC.rfind("data:").unwrap());
        assert_eq!((told(Llm::Anthropic, cut), told(Llm::Anthropic, ANTHROPIC)), (part(307), whole(307)));
        let response = "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n\n";
        assert_eq!(told(Llm::Openai, response), whole(307));
        assert_eq!(told(Llm::Openai, "data: [DONE]\n\n"), Told::Nothing);
    }
}
