//! What a call of a language model may cost at most, known before it is sent.
//!
//! Law: an upper bound or nothing. A token has at least one byte, so the bytes of the body bound what
//! goes in; what comes out is bounded by a cap, which is written into the body where it is missing.
//! A body that could be read in two ways, that has more to it than is known here, or a model without a
//! price, is not sent.

mod body;
mod member;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::super::rejection::Rejection;
use super::count::Charge;
use super::refusal::AgentRefusal;
use crate::base::{MicroUsd, json};
use crate::config::{Llm, TokenPrices};
use crate::shared::Price;
use body::with_members;
use member::{Bound, Form, Unbounded, Writes, bound, number};

/// How the calls of a route are priced.
#[derive(Debug)]
pub(in crate::gate) struct Tariff {
    pub style: Llm,
    pub prices: BTreeMap<String, TokenPrices>,
    /// Where a request does not say how much may come out.
    pub output_max: u32,
    /// The one member that caps an answer of a chat; absent: each that OpenAI knows.
    pub cap: Option<String>,
    /// Tokens to reserve for what is not known to be bound.
    pub allow: BTreeMap<String, u32>,
}

/// A call that can be paid for.
#[derive(Debug)]
pub(in crate::gate) struct Call {
    /// What is sent.
    pub body: Bytes,
    pub charge: Charge,
    pub prices: TokenPrices,
}

/// A member of a body, and what stands there from now on.
type Change<'a> = (&'a str, String);

impl Tariff {
    /// The most that this call can cost, and what must be sent for that to be true.
    ///
    /// # Errors
    /// [`AgentRefusal::Unpriced`]: it cannot be told.
    pub fn call(&self, body: &Bytes) -> Result<Call, Rejection> {
        self.read(body).map_err(|Unbounded(of)| Rejection::Agent(AgentRefusal::Unpriced(of)))
    }

    fn read(&self, body: &Bytes) -> Result<Call, Unbounded> {
        let Ok(Value::Object(asked)) = json::strict(body) else { return Err(Unbounded("body".to_owned())) };
        let model = || Unbounded("model".to_owned());
        let name = asked.get("model").and_then(Value::as_str).ok_or_else(model)?;
        let prices = *self.prices.get(name).or_else(|| self.prices.get("*")).ok_or_else(model)?;
        let Bound { form, answers, more, writes } =
            bound(self.style, self.cap.as_deref(), &self.allow, &asked)?;
        let (cap, written) = self.cap(form, &asked)?;
        let changes: Vec<Change<'_>> = written.into_iter().chain(tells_usage(form, &asked)?).collect();
        let body = with_members(body, &changes).ok_or_else(|| Unbounded("body".to_owned()))?;
        let input = u64::try_from(body.len()).unwrap_or(u64::MAX).saturating_add(more);
        let money = prices.most(input, cap.saturating_mul(answers), writes)?.ok_or_else(model)?;
        Ok(Call { body, charge: Charge { money, price: Price::AtMost }, prices })
    }

    /// How much may come out of one answer, and what must be written for that to be so.
    fn cap<'a>(
        &'a self,
        form: Form,
        asked: &Map<String, Value>,
    ) -> Result<(u64, Option<Change<'a>>), Unbounded> {
        let names = match self.cap.as_deref() {
            Some(cap) if form == Form::Chat => vec![cap],
            _ => form.caps().to_vec(),
        };
        let mut cap = None;
        for name in &names {
            let said = number(asked, name)?;
            // Nothing at all is no limit to some.
            if said == Some(0) {
                return Err(Unbounded((*name).to_owned()));
            }
            cap = cap.max(said);
        }
        if let Some(cap) = cap {
            return Ok((cap, None));
        }
        let used = names.iter().find(|name| asked.contains_key(**name)).or(names.first()).copied();
        Ok((self.output_max.into(), used.map(|name| (name, self.output_max.to_string()))))
    }
}

/// What must be written so that a stream says what it cost.
fn tells_usage(form: Form, asked: &Map<String, Value>) -> Result<Option<Change<'static>>, Unbounded> {
    let streams = match asked.get("stream") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(streams)) => *streams,
        Some(_) => return Err(Unbounded("stream".to_owned())),
    };
    if !streams || !matches!(form, Form::Chat | Form::Completion) {
        return Ok(None);
    }
    let mut options = match asked.get("stream_options") {
        Some(Value::Object(options)) => options.clone(),
        _ => Map::new(),
    };
    if options.insert("include_usage".to_owned(), json!(true)) == Some(json!(true)) {
        return Ok(None);
    }
    Ok(Some(("stream_options", Value::Object(options).to_string())))
}

/// Tokens that went in, by what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub plain: u64,
    pub written: u64,
    pub written_1h: u64,
    pub read: u64,
}

impl TokenPrices {
    /// What so many tokens cost, rounded up; `None` where that is more than money goes.
    pub(super) fn of(self, input: Input, output: u64) -> Option<MicroUsd> {
        // Nobody asks for more than twice, and nobody was asked.
        let written = |price: Option<MicroUsd>| price.unwrap_or(self.input.plus(self.input));
        let total: u128 = [
            (input.plain, self.input),
            (input.written, written(self.cache_write)),
            (input.written_1h, written(self.cache_write_1h)),
            (input.read, self.cache_read.unwrap_or(self.input)),
            (output, self.output),
        ]
        .into_iter()
        .map(|(tokens, price)| u128::from(tokens) * u128::from(price.as_micros().unsigned_abs()))
        .sum();
        i64::try_from(total.div_ceil(1_000_000)).ok().and_then(MicroUsd::from_micros)
    }

    /// The most that so many tokens can cost, whichever of them are written into caches.
    fn most(self, input: u64, output: u64, writes: Writes) -> Result<Option<MicroUsd>, Unbounded> {
        let needs = |price: Option<MicroUsd>| price.ok_or_else(|| Unbounded("cache_control".to_owned()));
        let mut dearest = self.input.max(self.cache_read.unwrap_or_default());
        if writes.short {
            dearest = dearest.max(needs(self.cache_write)?);
        }
        if writes.long {
            dearest = dearest.max(needs(self.cache_write_1h)?);
        }
        let all = Input { plain: input, ..Input::default() };
        Ok(Self { input: dearest, ..self }.of(all, output))
    }
}
