//! What a call of a language model may cost at most, known before it is sent.
//!
//! Law: an upper bound or nothing. A token has at least one byte, so the bytes of the body bound what
//! goes in; what comes out is bounded by a cap, which is written into the body where it is missing.
//! A body that could be read in two ways, or a model without a price, is not sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::super::rejection::Rejection;
use super::count::Charge;
use super::refusal::AgentRefusal;
use crate::base::{MicroUsd, json};
use crate::config::{Llm, TokenPrices};
use crate::shared::Price;

/// More answers to one prompt than anybody sells.
const ANSWERS_MAX: u64 = 1000;

/// How the calls of a route are priced.
#[derive(Debug)]
pub(in crate::gate) struct Tariff {
    pub style: Llm,
    pub prices: BTreeMap<String, TokenPrices>,
    /// Where a request does not say how much may come out.
    pub output_max: u32,
}

/// A call that can be paid for.
#[derive(Debug)]
pub(in crate::gate) struct Call {
    /// What is sent.
    pub body: Bytes,
    pub charge: Charge,
    pub prices: TokenPrices,
}

impl Tariff {
    /// The most that this call can cost, and what must be sent for that to be true.
    ///
    /// # Errors
    /// [`AgentRefusal::Unpriced`]: it cannot be told.
    pub fn call(&self, body: &Bytes) -> Result<Call, Rejection> {
        let unpriced = || Rejection::Agent(AgentRefusal::Unpriced);
        let Ok(Value::Object(asked)) = json::strict(body) else { return Err(unpriced()) };
        let model = asked.get("model").and_then(Value::as_str).ok_or_else(unpriced)?;
        let prices = *self.prices.get(model).or_else(|| self.prices.get("*")).ok_or_else(unpriced)?;
        let number = |name: &str| match asked.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(unpriced),
        };
        let cap = match self.style {
            Llm::Openai => number("max_tokens")?.max(number("max_completion_tokens")?),
            Llm::Anthropic => number("max_tokens")?,
        };
        let answers = match self.style {
            Llm::Openai => number("n")?.unwrap_or(1).max(1),
            Llm::Anthropic => 1,
        };
        if answers > ANSWERS_MAX {
            return Err(unpriced());
        }
        let mut more = String::new();
        if cap.is_none() {
            // A null that stands there would be the same name twice.
            let name = self.free_name(&asked).ok_or_else(unpriced)?;
            more = format!("\"{name}\":{},", self.output_max);
        }
        let streams = asked.get("stream").and_then(Value::as_bool) == Some(true);
        if self.style == Llm::Openai && streams && !asked.contains_key("stream_options") {
            // Without it a stream does not say what it cost.
            more.push_str("\"stream_options\":{\"include_usage\":true},");
        }
        let cap = cap.unwrap_or_else(|| self.output_max.into());
        let body = with_members(body, &more);
        let input = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let money = prices.of(input, cap.saturating_mul(answers)).ok_or_else(unpriced)?;
        Ok(Call { body, charge: Charge { money, price: Price::AtMost }, prices })
    }

    fn free_name(&self, asked: &serde_json::Map<String, Value>) -> Option<&'static str> {
        let names: &[&'static str] = match self.style {
            Llm::Openai => &["max_completion_tokens", "max_tokens"],
            Llm::Anthropic => &["max_tokens"],
        };
        names.iter().copied().find(|name| !asked.contains_key(*name))
    }
}

/// The same object with more members in front; everything else stays to the byte.
fn with_members(body: &Bytes, more: &str) -> Bytes {
    let Some(at) = memchr::memchr(b'{', body).filter(|_| !more.is_empty()) else { return body.clone() };
    let mut whole = Vec::with_capacity(body.len() + more.len());
    whole.extend_from_slice(&body[..=at]);
    whole.extend_from_slice(more.as_bytes());
    whole.extend_from_slice(&body[at + 1..]);
    Bytes::from(whole)
}

impl TokenPrices {
    /// What so many tokens cost, rounded up; `None` where that is more than money goes.
    pub(super) fn of(self, input: u64, output: u64) -> Option<MicroUsd> {
        let part =
            |tokens: u64, price: MicroUsd| u128::from(tokens) * u128::from(price.as_micros().unsigned_abs());
        let total = part(input, self.input) + part(output, self.output);
        i64::try_from(total.div_ceil(1_000_000)).ok().and_then(MicroUsd::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(text: &str) -> MicroUsd {
        MicroUsd::parse(text).unwrap()
    }

    fn tariff(style: Llm) -> Tariff {
        let prices = TokenPrices { input: usd("2.5"), output: usd("10") };
        Tariff { style, prices: [("m".to_owned(), prices)].into(), output_max: 1000 }
    }

    #[test]
    fn a_call_is_bound_by_its_bytes_and_its_cap() {
        let body = Bytes::from_static(br#"{"model":"m","max_tokens":100,"n":2,"messages":[]}"#);
        let call = tariff(Llm::Openai).call(&body).unwrap();
        assert_eq!(call.body, body, "nothing is missing");
        // 50 bytes of 2.5 millionths, 200 tokens of 10.
        assert_eq!(call.charge.money.as_micros(), (50 * 25 + 2000 * 10) / 10);
        let anthropic = tariff(Llm::Anthropic).call(&body).unwrap();
        assert_eq!(anthropic.charge.money.as_micros(), 125 + 1000);
    }

    #[test]
    fn a_missing_cap_is_written_into_the_body_and_the_rest_stays() {
        let body = Bytes::from_static(b" {\"model\":\"m\", \"temperature\": 0.10}");
        let call = tariff(Llm::Anthropic).call(&body).unwrap();
        assert_eq!(call.body, " {\"max_tokens\":1000,\"model\":\"m\", \"temperature\": 0.10}");
        let body = Bytes::from_static(br#"{"model":"m","stream":true,"max_tokens":null}"#);
        let call = tariff(Llm::Openai).call(&body).unwrap();
        let sent: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(sent["max_completion_tokens"], 1000);
        assert_eq!(sent["stream_options"]["include_usage"], true);
    }

    #[test]
    fn what_has_no_bound_is_not_sent() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"model":"other"}"#,
            r#"{"model":"m","max_tokens":-1}"#,
            r#"{"model":"m","max_tokens":1.5}"#,
            r#"{"model":"m","max_tokens":"9"}"#,
            r#"{"model":"m","max_tokens":1,"max_tokens":99999}"#,
            r#"{"model":"m","max_tokens":18446744073709551615}"#,
            r#"{"model":"m","max_tokens":1,"n":1001}"#,
        ] {
            let refused = tariff(Llm::Openai).call(&Bytes::from_static(body.as_bytes())).unwrap_err();
            assert_eq!(refused.code(), "COST_UNKNOWN", "{body}");
        }
    }
}
