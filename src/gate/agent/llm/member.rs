//! Which members of a call are known to cost no more than their bytes and its cap.
//!
//! Law: a list of what may pass, never of what may not. What a provider fetches, runs or remembers
//! costs tokens that no byte of the request bounds; it passes only where the route says how many to
//! reserve for it. Names are known as they are spelt: some servers read others for the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::base::json::folded;
use crate::config::Llm;

/// More answers to one request than anybody sells.
const ANSWERS_MAX: u64 = 1000;
/// What providers write before the tools of a request, in tokens: more than any of them says.
const TOOLS: u64 = 1024;

type Object = Map<String, Value>;

/// Why a call has no bound: what of it nobody here can price.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbounded(pub String);

/// Which of its paths a call is for, told by what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `messages` of OpenAI.
    Chat,
    /// `prompt`.
    Completion,
    /// `input`.
    Response,
    /// `messages` of Anthropic.
    Message,
}

/// What a call can cost beside its own bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub form: Form,
    /// How many answers up to the cap it asks for.
    pub answers: u64,
    /// Tokens that go in beyond the bytes.
    pub more: u64,
    pub writes: Writes,
}

/// Which caches a call asks to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Writes {
    /// For five minutes.
    pub short: bool,
    /// For an hour.
    pub long: bool,
}

const ALWAYS: &[&str] =
    &["model", "stream", "temperature", "top_p", "tools", "tool_choice", "metadata", "service_tier"];
const SAMPLED: &[&str] = &[
    "n",
    "stream_options",
    "stop",
    "seed",
    "user",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_k",
    "min_p",
    "repetition_penalty",
];
const CHAT: &[&str] = &[
    "messages",
    "functions",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "verbosity",
    "top_logprobs",
    "modalities",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];
const COMPLETION: &[&str] = &["prompt", "best_of", "suffix", "echo"];
const RESPONSE: &[&str] = &[
    "input",
    "instructions",
    "stream_options",
    "parallel_tool_calls",
    "text",
    "reasoning",
    "include",
    "truncation",
    "top_logprobs",
    "store",
    "background",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];
const MESSAGE: &[&str] = &[
    "messages",
    "system",
    "stop_sequences",
    "top_k",
    "thinking",
    "output_config",
    "output_format",
    "cache_control",
];

const CHAT_TURN: &[&str] = &[
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "refusal",
    "function_call",
    "reasoning_content",
    "reasoning",
    "annotations",
];
const MESSAGE_TURN: &[&str] = &["role", "content"];
/// Kinds of items of a response's input, and what each says itself; without it, it may be a reference.
const ITEMS: &[(&str, &str)] = &[
    ("message", "content"),
    ("function_call", "arguments"),
    ("function_call_output", "output"),
    ("custom_tool_call", "input"),
    ("custom_tool_call_output", "output"),
];
const ITEM: &[&str] =
    &["type", "role", "content", "id", "status", "phase", "call_id", "name", "arguments", "input", "output"];
const OPENAI_PARTS: &[&str] = &["text", "refusal", "input_text", "output_text"];
const OPENAI_PART: &[&str] = &["type", "text", "refusal", "annotations", "logprobs", "cache_control"];
const ANTHROPIC_PARTS: &[&str] = &["text", "tool_use", "tool_result", "thinking", "redacted_thinking"];
const ANTHROPIC_PART: &[&str] = &[
    "type",
    "text",
    "citations",
    "cache_control",
    "id",
    "name",
    "input",
    "tool_use_id",
    "content",
    "is_error",
    "thinking",
    "signature",
    "data",
];
/// Tools that the agent runs itself.
const TOOL_KINDS: &[&str] = &["function", "custom"];
const TOOL: &[&str] = &[
    "type",
    "function",
    "custom",
    "name",
    "description",
    "parameters",
    "strict",
    "format",
    "input_schema",
    "input_examples",
    "cache_control",
];
const STREAM_OPTIONS: &[&str] = &["include_usage", "include_obfuscation", "continuous_usage_stats"];
/// None of these is dearer than the price of the model.
const TIERS: &[&str] = &["auto", "default", "flex", "standard_only"];

impl Form {
    fn of(style: Llm, asked: &Object) -> Result<Self, Unbounded> {
        let has = |name: &str| asked.contains_key(name);
        match (style, has("prompt"), has("input")) {
            (Llm::Anthropic, ..) => Ok(Self::Message),
            (Llm::Openai, false, false) => Ok(Self::Chat),
            (Llm::Openai, true, false) => Ok(Self::Completion),
            (Llm::Openai, false, true) => Ok(Self::Response),
            (Llm::Openai, true, true) => Err(Unbounded("prompt".to_owned())),
        }
    }

    fn members(self) -> impl Iterator<Item = &'static str> {
        let (own, more): (&[&str], &[&str]) = match self {
            Self::Chat => (CHAT, SAMPLED),
            Self::Completion => (COMPLETION, SAMPLED),
            Self::Response => (RESPONSE, &[]),
            Self::Message => (MESSAGE, &[]),
        };
        ALWAYS.iter().chain(own).chain(more).copied()
    }

    /// The members that cap what comes out; the first is written where none stands there.
    pub(super) const fn caps(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["max_completion_tokens", "max_tokens"],
            Self::Completion | Self::Message => &["max_tokens"],
            Self::Response => &["max_output_tokens"],
        }
    }

    const fn turn(self) -> &'static [&'static str] {
        if matches!(self, Self::Message) { MESSAGE_TURN } else { CHAT_TURN }
    }

    const fn parts(self) -> (&'static [&'static str], &'static [&'static str]) {
        if matches!(self, Self::Message) {
            (ANTHROPIC_PARTS, ANTHROPIC_PART)
        } else {
            (OPENAI_PARTS, OPENAI_PART)
        }
    }
}

/// What the members of a call let it cost. `cap` is the one that caps what comes out of a chat,
/// where only one does; `priced` are the tokens to reserve for what is not known here.
pub(super) fn bound(
    style: Llm,
    cap: Option<&str>,
    priced: &BTreeMap<String, u32>,
    asked: &Object,
) -> Result<Bound, Unbounded> {
    let form = Form::of(style, asked)?;
    let mut reader = Reader { form, priced, more: 0, writes: Writes::default() };
    let mut names = BTreeSet::new();
    for (name, value) in asked {
        if !names.insert(folded(name)) {
            return Err(Unbounded(name.clone()));
        }
        let is_cap = match cap {
            Some(cap) if form == Form::Chat => name == cap,
            _ => form.caps().contains(&name.as_str()),
        };
        if !is_cap {
            reader.member(name, value)?;
        }
    }
    Ok(Bound { form, answers: answers(form, asked)?, more: reader.more, writes: reader.writes })
}

/// Whether it is a number, or none.
pub(super) fn number(asked: &Object, name: &str) -> Result<Option<u64>, Unbounded> {
    match asked.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| Unbounded(name.to_owned())),
    }
}

fn answers(form: Form, asked: &Object) -> Result<u64, Unbounded> {
    let count = |name: &str| number(asked, name).map(|count| count.unwrap_or(1).max(1));
    let answers = match form {
        Form::Chat => count("n")?,
        Form::Completion => count("n")?.max(count("best_of")?).saturating_mul(prompts(asked)?),
        Form::Response | Form::Message => 1,
    };
    if answers > ANSWERS_MAX { Err(Unbounded("n".to_owned())) } else { Ok(answers) }
}

/// Each text, or list of tokens, of a list is answered for itself.
fn prompts(asked: &Object) -> Result<u64, Unbounded> {
    let unbounded = || Unbounded("prompt".to_owned());
    let list = match asked.get("prompt") {
        Some(Value::String(_)) => return Ok(1),
        Some(Value::Array(list)) => list,
        _ => return Err(unbounded()),
    };
    let is_tokens = |list: &[Value]| list.iter().all(Value::is_u64);
    if is_tokens(list) {
        return Ok(1);
    }
    let is_prompt = |one: &Value| one.is_string() || one.as_array().is_some_and(|one| is_tokens(one));
    if list.iter().all(is_prompt) {
        u64::try_from(list.len()).map_err(|_| unbounded())
    } else {
        Err(unbounded())
    }
}

struct Reader<'a> {
    form: Form,
    priced: &'a BTreeMap<String, u32>,
    more: u64,
    writes: Writes,
}

impl Reader<'_> {
    /// What is not known to be bound passes where the route has a number for it.
    fn unknown(&mut self, name: &str) -> Result<(), Unbounded> {
        let looks_known = self.form.members().any(|known| known != name && folded(known) == folded(name));
        match self.priced.get(name) {
            Some(tokens) if !looks_known => {
                self.more = self.more.saturating_add(u64::from(*tokens));
                Ok(())
            }
            _ => Err(Unbounded(name.to_owned())),
        }
    }

    fn member(&mut self, name: &str, value: &Value) -> Result<(), Unbounded> {
        if !self.form.members().any(|known| known == name) {
            return self.unknown(name);
        }
        let one_of = |known: &[&str]| value.as_str().is_some_and(|value| known.contains(&value));
        let is_good = match name {
            "messages" => return self.each(name, value, Self::turn),
            "input" if value.is_array() => return self.each(name, value, Self::item),
            "input" | "instructions" => value.is_string() || (value.is_null() && name == "instructions"),
            "system" => return self.content(value),
            "cache_control" => return self.cached(value),
            "tools" => {
                if value.as_array().is_some_and(|tools| !tools.is_empty()) {
                    self.more = self.more.saturating_add(TOOLS);
                }
                return self.each(name, value, Self::tool);
            }
            "functions" => {
                self.more = self.more.saturating_add(TOOLS);
                true
            }
            "stream_options" => return self.keys(name, value, STREAM_OPTIONS),
            "modalities" => value.is_null() || *value == serde_json::json!(["text"]),
            "service_tier" => value.is_null() || one_of(TIERS),
            // It would be answered later, elsewhere.
            "background" => matches!(value, Value::Null | Value::Bool(false)),
            _ => true,
        };
        if is_good { Ok(()) } else { self.unknown(name) }
    }

    fn each(
        &mut self,
        name: &str,
        list: &Value,
        read: impl Fn(&mut Self, &Object) -> Result<(), Unbounded>,
    ) -> Result<(), Unbounded> {
        let unbounded = || Unbounded(name.to_owned());
        match list {
            Value::Null => Ok(()),
            Value::Array(list) => list.iter().try_for_each(|one| match one {
                Value::Object(one) => read(self, one),
                _ => Err(unbounded()),
            }),
            _ => Err(unbounded()),
        }
    }

    fn keys(&mut self, name: &str, of: &Value, known: &[&str]) -> Result<(), Unbounded> {
        match of {
            Value::Null => Ok(()),
            Value::Object(of) => self.names(of, known),
            _ => Err(Unbounded(name.to_owned())),
        }
    }

    fn names(&mut self, of: &Object, known: &[&str]) -> Result<(), Unbounded> {
        of.iter().try_for_each(|(name, value)| match name.as_str() {
            name if !known.contains(&name) => self.unknown(name),
            "cache_control" => self.cached(value),
            _ => Ok(()),
        })
    }

    fn cached(&mut self, control: &Value) -> Result<(), Unbounded> {
        if control.is_null() {
            return Ok(());
        }
        let is_known = |of: &Object| of.keys().all(|name| ["type", "ttl"].contains(&name.as_str()));
        let ttl =
            control.as_object().filter(|of| is_known(of)).map(|of| of.get("ttl").unwrap_or(&Value::Null));
        match ttl {
            Some(Value::Null) => self.writes.short = true,
            Some(ttl) if ttl == "5m" => self.writes.short = true,
            Some(ttl) if ttl == "1h" => self.writes.long = true,
            _ => return Err(Unbounded("cache_control".to_owned())),
        }
        Ok(())
    }

    fn turn(&mut self, turn: &Object) -> Result<(), Unbounded> {
        self.names(turn, self.form.turn())?;
        self.content(turn.get("content").unwrap_or(&Value::Null))
    }

    fn item(&mut self, item: &Object) -> Result<(), Unbounded> {
        let kind = match item.get("type") {
            None if item.contains_key("role") => "message",
            Some(Value::String(kind)) => kind.as_str(),
            _ => return Err(Unbounded("input".to_owned())),
        };
        let Some((_, says)) = ITEMS.iter().find(|(known, _)| *known == kind) else {
            return self.unknown(kind);
        };
        self.names(item, ITEM)?;
        if !item.contains_key(*says) {
            return Err(Unbounded(kind.to_owned()));
        }
        ["content", "output"]
            .iter()
            .filter_map(|name| item.get(*name))
            .try_for_each(|part| self.content(part))
    }

    fn content(&mut self, content: &Value) -> Result<(), Unbounded> {
        if content.is_string() { Ok(()) } else { self.each("content", content, Self::part) }
    }

    fn part(&mut self, part: &Object) -> Result<(), Unbounded> {
        let kind = part.get("type").and_then(Value::as_str).ok_or_else(|| Unbounded("content".to_owned()))?;
        let (kinds, names) = self.form.parts();
        if !kinds.contains(&kind) {
            return self.unknown(kind);
        }
        self.names(part, names)?;
        self.content(part.get("content").unwrap_or(&Value::Null))
    }

    fn tool(&mut self, tool: &Object) -> Result<(), Unbounded> {
        match tool.get("type") {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if TOOL_KINDS.contains(&kind.as_str()) => {}
            Some(Value::String(kind)) => return self.unknown(kind),
            Some(_) => return Err(Unbounded("tools".to_owned())),
        }
        self.names(tool, TOOL)
    }
}
