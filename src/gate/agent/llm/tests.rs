//! What a call may cost: each hole that was found in the bound has its test.
//! Law: what is not known to be bound is not sent.

use super::*;

fn usd(text: &str) -> MicroUsd {
    MicroUsd::parse(text).unwrap()
}

fn tariff(style: Llm) -> Tariff {
    let prices = TokenPrices {
        input: usd("2.5"),
        output: usd("10"),
        cache_write: None,
        cache_write_1h: None,
        cache_read: None,
    };
    let prices = [("m".to_owned(), prices)].into();
    Tariff { style, prices, output_max: 1000, cap: None, allow: BTreeMap::new() }
}

#[test]
fn a_call_is_bound_by_its_bytes_and_its_cap() {
    let body = Bytes::from_static(br#"{"model":"m","max_tokens":100,"n":2,"messages":[]}"#);
    let call = tariff(Llm::Openai).call(&body).unwrap();
    assert_eq!(call.body, body, "nothing is missing");
    // 50 bytes of 2.5 millionths, 200 tokens of 10.
    assert_eq!(call.charge.money.as_micros(), (50 * 25 + 2000 * 10) / 10);
    let body = Bytes::from_static(br#"{"model":"m","max_tokens":100,      "messages":[]}"#);
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
    assert_eq!(sent["max_tokens"], 1000, "in the one that the client used");
    assert_eq!(sent.get("max_completion_tokens"), None);
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

fn asked(tariff: &Tariff, body: &Value) -> Result<Call, String> {
    tariff.call(&Bytes::from(body.to_string())).map_err(|refused| {
        let Rejection::Agent(AgentRefusal::Unpriced(of)) = refused else { panic!("{refused:?}") };
        of
    })
}

/// Tokens of output that are reserved.
fn output_of(call: &Call) -> i64 {
    (call.charge.money.as_micros() - i64::try_from(call.body.len() * 5).unwrap() / 2) / 10
}

#[test]
fn h3_each_answer_of_a_completion_is_reserved() {
    let openai = tariff(Llm::Openai);
    let completion = |more: Value| {
        let mut body = json!({"model": "m", "prompt": "a", "max_tokens": 10});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked(&openai, &body)
    };
    let answers = |more| output_of(&completion(more).unwrap()) / 10;
    assert_eq!(answers(json!({})), 1);
    assert_eq!(answers(json!({"best_of": 5})), 5);
    assert_eq!(answers(json!({"n": 3, "best_of": 20})), 20);
    assert_eq!(answers(json!({"prompt": vec!["x"; 100]})), 100);
    assert_eq!(answers(json!({"prompt": [[1, 2], [3]], "n": 2})), 4);
    assert_eq!(answers(json!({"prompt": [1, 2, 3]})), 1, "one list of tokens");
    for more in [
        json!({"prompt": vec!["x"; 1001]}),
        json!({"prompt": {"id": "pmpt_1"}}),
        json!({"prompt": null}),
        json!({"prompt": [["a"]]}),
        json!({"best_of": 1001}),
        json!({"best_of": "2"}),
        json!({"input": "a"}),
    ] {
        completion(more.clone()).expect_err(&more.to_string());
    }
}

#[test]
fn h3_what_the_bytes_do_not_bound_is_refused_by_its_name() {
    let content = |part: Value| json!({"messages": [{"role": "user", "content": [part]}]});
    let tool = |tool: Value| json!({"messages": [], "tools": [tool]});
    let input = |item: Value| json!({"input": [item]});
    for (style, more, named) in [
        (Llm::Openai, content(json!({"type": "image_url", "image_url": {"url": "https://a"}})), "image_url"),
        (Llm::Openai, content(json!({"type": "file", "file": {"file_id": "f"}})), "file"),
        (Llm::Openai, content(json!({"type": "text", "text": "", "image_url": "x"})), "image_url"),
        (Llm::Openai, content(json!({"type": "text", "Type": "image_url"})), "Type"),
        (Llm::Openai, content(json!({"image_url": "https://a"})), "content"),
        (Llm::Openai, json!({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}), "audio"),
        (Llm::Openai, json!({"web_search_options": {}}), "web_search_options"),
        (Llm::Openai, json!({"prediction": {}}), "prediction"),
        (Llm::Openai, json!({"modalities": ["text", "audio"]}), "modalities"),
        (Llm::Openai, json!({"service_tier": "priority"}), "service_tier"),
        (Llm::Openai, json!({"chat_template": "{{ x }}"}), "chat_template"),
        (Llm::Openai, tool(json!({"type": "web_search"})), "web_search"),
        (Llm::Openai, json!({"input": "a", "previous_response_id": "r"}), "previous_response_id"),
        (Llm::Openai, json!({"input": "a", "conversation": "c"}), "conversation"),
        (Llm::Openai, json!({"input": "a", "background": true}), "background"),
        (Llm::Openai, json!({"input": "a", "tools": [{"type": "mcp", "server_url": "u"}]}), "mcp"),
        (Llm::Openai, input(json!({"type": "item_reference", "id": "i"})), "item_reference"),
        (Llm::Openai, input(json!({"id": "i"})), "input"),
        (Llm::Openai, input(json!({"type": "message", "id": "i"})), "message"),
        (
            Llm::Openai,
            input(json!({"role": "user", "content": [{"type": "input_file", "file_id": "f"}]})),
            "input_file",
        ),
        (Llm::Anthropic, content(json!({"type": "document", "source": {"type": "url"}})), "document"),
        (
            Llm::Anthropic,
            content(json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]})),
            "image",
        ),
        (Llm::Anthropic, json!({"system": [{"type": "image"}]}), "image"),
        (Llm::Anthropic, json!({"mcp_servers": []}), "mcp_servers"),
        (Llm::Anthropic, json!({"container": "c"}), "container"),
        (Llm::Anthropic, json!({"speed": "fast"}), "speed"),
        (Llm::Anthropic, tool(json!({"type": "web_search_20250305", "name": "w"})), "web_search_20250305"),
    ] {
        let mut body = json!({"model": "m"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(asked(&tariff(style), &body).unwrap_err(), named, "{body}");
    }
}

#[test]
fn h3_what_agents_send_every_day_passes_and_tools_are_reserved() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let chat = json!({"model": "m", "max_tokens": 1, "tools": tools, "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "t"}]},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
    ]});
    let call = asked(&tariff(Llm::Openai), &chat).unwrap();
    assert!(call.charge.money.as_micros() >= 1024 * 5 / 2 + 10, "{:?}", call.charge);
    let response = json!({"model": "m", "instructions": "i", "store": false, "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "t"}]},
        {"type": "message", "role": "assistant", "id": "i", "status": "completed", "content": [{"type": "output_text", "text": "t", "annotations": []}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]});
    asked(&tariff(Llm::Openai), &response).unwrap();
    let message = json!({"model": "m", "max_tokens": 9, "system": "s", "thinking": {"type": "enabled", "budget_tokens": 5}, "messages": [
        {"role": "user", "content": "t"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "tool_use", "id": "u", "name": "f", "input": {"type": "image"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "content": [{"type": "text", "text": "t"}]}]},
    ], "tools": [{"name": "f", "input_schema": {}}]});
    asked(&tariff(Llm::Anthropic), &message).unwrap();
}

#[test]
fn h3_what_the_route_has_a_number_for_is_reserved_each_time() {
    let allow = [("image_url".to_owned(), 1000), ("top_a".to_owned(), 0), ("N".to_owned(), 0)].into();
    let openai = Tariff { allow, ..tariff(Llm::Openai) };
    let image = json!({"type": "image_url", "image_url": {"url": "https://a"}});
    let images = json!({"model": "m", "max_tokens": 10, "top_a": 1, "messages": [{"role": "user", "content": [image, image]}]});
    let call = asked(&openai, &images).unwrap();
    assert_eq!(output_of(&call), 10 + 2 * 1000 / 4);
    let hidden = json!({"model": "m", "N": 1000});
    assert_eq!(asked(&openai, &hidden).unwrap_err(), "N", "some read it for n");
}

#[test]
fn h1_names_that_some_read_for_the_same_are_refused() {
    for body in [
        r#"{"model":"m","Model":"dear"}"#,
        r#"{"Model":"m"}"#,
        r#"{"model":"m","max_tokens":1,"Max_Tokens":99999}"#,
        r#"{"model":"m","max_tokens":1,"max_to\u212aens":99999}"#,
        r#"{"model":"m","\u017ftream":true}"#,
        r#"{"model":"m","stream":true,"stream_options":{"Include_Usage":false}}"#,
    ] {
        let refused = tariff(Llm::Openai).call(&Bytes::from_static(body.as_bytes())).unwrap_err();
        assert_eq!(refused.code(), "COST_UNKNOWN", "{body}");
    }
}

#[test]
fn h3_a_stream_cannot_hide_what_it_costs() {
    let openai = tariff(Llm::Openai);
    for options in [json!(null), json!({}), json!({"include_usage": false}), json!({"include_usage": null})] {
        let call = asked(&openai, &json!({"model": "m", "stream": true, "stream_options": options})).unwrap();
        let sent: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(sent["stream_options"], json!({"include_usage": true}), "{options}");
        json::strict(&call.body).unwrap();
    }
    let kept = json!({"model": "m", "stream": true, "max_tokens": 1, "stream_options": {"include_usage": true, "include_obfuscation": false}});
    assert_eq!(asked(&openai, &kept).unwrap().body, kept.to_string());
    for stream in [json!(1), json!("true"), json!([])] {
        assert_eq!(asked(&openai, &json!({"model": "m", "stream": stream})).unwrap_err(), "stream");
    }
    let response =
        asked(&openai, &json!({"model": "m", "input": "a", "stream": true, "max_output_tokens": 5})).unwrap();
    assert!(!String::from_utf8_lossy(&response.body).contains("include_usage"), "they tell it anyway");
}

#[test]
fn h3_a_cap_is_written_in_the_name_that_the_server_knows() {
    let sent = |tariff: &Tariff, body: Value| -> Value {
        serde_json::from_slice(&asked(tariff, &body).unwrap().body).unwrap()
    };
    let openai = tariff(Llm::Openai);
    assert_eq!(sent(&openai, json!({"model": "m", "input": "a"}))["max_output_tokens"], 1000);
    assert_eq!(sent(&openai, json!({"model": "m", "prompt": "a"}))["max_tokens"], 1000);
    assert_eq!(sent(&openai, json!({"model": "m"}))["max_completion_tokens"], 1000);
    let older = Tariff { cap: Some("max_tokens".to_owned()), ..tariff(Llm::Openai) };
    assert_eq!(sent(&older, json!({"model": "m"}))["max_tokens"], 1000);
    assert_eq!(
        asked(&older, &json!({"model": "m", "max_completion_tokens": 5})).unwrap_err(),
        "max_completion_tokens"
    );
    assert_eq!(sent(&older, json!({"model": "m", "input": "a"}))["max_output_tokens"], 1000);
    for body in [
        json!({"model": "m", "max_tokens": 0}),
        json!({"model": "m", "input": "a", "max_tokens": 5}),
        json!({"model": "m", "prompt": "a", "max_completion_tokens": 5}),
    ] {
        asked(&openai, &body).expect_err(&body.to_string());
    }
}

#[test]
fn m7_what_is_written_into_a_cache_is_reserved_at_its_price_or_refused() {
    let cached = |ttl: Value| {
        let block = json!({"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": ttl}});
        json!({"model": "m", "max_tokens": 1, "system": [block], "messages": []})
    };
    let (short, long) = (cached(json!("5m")), cached(json!("1h")));
    let mut anthropic = tariff(Llm::Anthropic);
    assert_eq!(asked(&anthropic, &short).unwrap_err(), "cache_control");
    let prices = anthropic.prices.get_mut("m").unwrap();
    (prices.cache_write, prices.cache_read) = (Some(usd("3.125")), Some(usd("0.25")));
    assert_eq!(asked(&anthropic, &long).unwrap_err(), "cache_control", "that has another price");
    let reserved = |tariff: &Tariff, body: &Value| asked(tariff, body).unwrap().charge.money.as_micros() - 10;
    let bytes = |body: &Value| i64::try_from(body.to_string().len()).unwrap();
    assert_eq!(reserved(&anthropic, &short), (bytes(&short) * 3125 + 999) / 1000);
    anthropic.prices.get_mut("m").unwrap().cache_write_1h = Some(usd("5"));
    assert_eq!(reserved(&anthropic, &long), bytes(&long) * 5);
    for odd in [json!("24h"), json!(3600)] {
        assert_eq!(asked(&anthropic, &cached(odd)).unwrap_err(), "cache_control");
    }
    let tools = json!({"model": "m", "messages": [], "tools": [{"name": "f", "cache_control": {"type": "ephemeral"}}]});
    assert_eq!(asked(&tariff(Llm::Anthropic), &tools).unwrap_err(), "cache_control");
    let whole = json!({"model": "m", "messages": [], "cache_control": {"type": "ephemeral"}});
    assert_eq!(asked(&tariff(Llm::Anthropic), &whole).unwrap_err(), "cache_control");
}

#[test]
fn m7_every_kind_of_token_has_its_price() {
    let anthropic = tariff(Llm::Anthropic);
    let mut prices = anthropic.prices["m"];
    let input = Input { plain: 1_000_000, written: 1_000_000, written_1h: 1_000_000, read: 1_000_000 };
    let cost = |prices: TokenPrices| prices.of(input, 0).unwrap().to_string();
    assert_eq!(
        cost(prices),
        "15.000000",
        "what has no price is written at twice and read at once that of the prompt"
    );
    prices.cache_write = Some(usd("3"));
    prices.cache_write_1h = Some(usd("6"));
    prices.cache_read = Some(usd("0.5"));
    assert_eq!(cost(prices), "12.000000");
    let all = Input { plain: u64::MAX, written: u64::MAX, written_1h: u64::MAX, read: u64::MAX };
    assert_eq!(prices.of(all, u64::MAX), None);
}
