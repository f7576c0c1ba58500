//! The digest of a route's policy: what people approve something under.
//!
//! Law: it is over what a route says, in a form of its own that no other part of this program makes,
//! so that a new version of the gateway does not void what waits. Every field of a route and of its
//! upstream is named here: one that is new does not compile until somebody has said whether it matters. One that does
//! goes in only where it differs from what was before there was one; what cannot be added like that
//! makes another version of the form.

use super::digest::Fields;
use crate::config::{
    Agents, Assertion, Comparison, Config, Hold, HoldMode, HoldWord, Identity, Llm, Redacting, Rewrite,
    Route, RouteAgents, RouteApprovers, RouteCost, Scalar, TargetRules, Test, TokenPrices, Upstream,
    UpstreamHost, UpstreamTls,
};
use crate::policy::allow::Named;
use crate::policy::{Allow, Approver, Approvers, Condition};

/// The version of the form: another one never equals this.
const POLICY: &str = "portcullis policy v2";

/// SHA-256, in hex, over all of a route that matters to what is approved on it: what it matches, where it
/// leads and which servers that is, who may pass, what waits, who decides. Not limits, timeouts and the
/// like: they say how a request is handled, whichever it is.
#[must_use]
pub fn policy_digest(config: &Config, route: &Route) -> String {
    let Route {
        name,
        host,
        path,
        methods,
        upstream,
        allow,
        agents,
        assertion,
        identity,
        rewrite,
        target,
        // Nothing that is kept carries a credential, or is a WebSocket.
        forward_authorization: _,
        websocket: _,
        browser: _,
        limit: _,
        body: _,
        held_body: _,
        timeouts: _,
        cors: _,
        audit: _,
        // Nobody tolerates what an agent may not do.
        shadow: _,
    } = route;
    let TargetRules { encoded_slash, params } = target;
    let mut fields = Fields::new(POLICY);
    fields.text(name);
    fields.maybe(host.as_ref().map(ToString::to_string).as_deref());
    fields.text(path.as_str());
    fields.set(methods.names().map(|name| name.as_bytes().to_vec()).collect());
    fields.text(upstream);
    fields.bytes(&config.upstreams.get(upstream).map(of_upstream).unwrap_or_default());
    fields.bytes(&of_allow(allow));
    fields.text(match assertion {
        Assertion::Off => "off",
        Assertion::Identity => "identity",
        Assertion::Request => "request",
    });
    fields.text(match identity {
        Identity::Auto => "auto",
        Identity::Off => "off",
        Identity::Optional => "optional",
    });
    let Rewrite { strip_prefix, add_prefix, host } = rewrite.clone().unwrap_or_default();
    for part in [strip_prefix, add_prefix, host] {
        fields.maybe(part.as_deref());
    }
    fields.flag(*encoded_slash);
    fields.flag(*params);
    fields.bytes(&agents.as_ref().map(|own| of_agents(own, &config.agents)).unwrap_or_default());
    fields.end()
}

/// Which servers there are, as whom they are addressed, and how they prove who they are.
fn of_upstream(upstream: &Upstream) -> Vec<u8> {
    let Upstream {
        name: _,
        servers,
        tls,
        host,
        // Each route says for itself what it states.
        assertion: _,
        balance: _,
        health: _,
        timeouts: _,
        http2: _,
        retries: _,
        breaker: _,
        in_flight: _,
    } = upstream;
    let mut fields = Fields::new("upstream");
    fields.set(servers.iter().map(|server| server.to_string().into_bytes()).collect());
    match host {
        UpstreamHost::Keep => fields.text("keep"),
        UpstreamHost::Server => fields.text("server"),
        UpstreamHost::Name(name) => {
            fields.text("name");
            fields.text(name);
        }
    }
    fields.bytes(&tls.as_ref().map(of_tls).unwrap_or_default());
    fields.whole()
}

fn of_tls(tls: &UpstreamTls) -> Vec<u8> {
    let UpstreamTls { ca_file, sni, client_cert_file, client_key_file, verify } = tls;
    let mut fields = Fields::new("tls");
    for file in [ca_file, client_cert_file, client_key_file] {
        fields.maybe(file.as_ref().map(|file| file.to_string_lossy()).as_deref());
    }
    fields.maybe(sni.as_deref());
    fields.flag(*verify);
    fields.whole()
}

fn of_allow(allow: &Allow) -> Vec<u8> {
    match allow {
        Allow::Anyone => b"anyone".to_vec(),
        Allow::When(condition) => of_condition(condition),
    }
}

fn of_condition(condition: &Condition) -> Vec<u8> {
    let mut fields = Fields::new(condition.name());
    match condition {
        // The order of a list means nothing.
        Condition::All(list) | Condition::Any(list) => fields.set(list.iter().map(of_condition).collect()),
        Condition::Not(inner) => fields.bytes(&of_condition(inner)),
        Condition::Permission(code)
        | Condition::Role(code)
        | Condition::Group(code)
        | Condition::OrgRole(code)
        | Condition::OrgPermission(code) => fields.text(code.as_str()),
        Condition::OrgPlan(text)
        | Condition::OrgStatus(text)
        | Condition::Owner(text)
        | Condition::Scope(text) => fields.text(text),
        Condition::MaxAge(age) => fields.span(*age),
        Condition::Application(Named::Any) => fields.maybe(None),
        Condition::Application(Named::Name(name)) => fields.maybe(Some(name)),
        Condition::SignedIn
        | Condition::OrgMember
        | Condition::OrgOwner
        | Condition::OrgAdmin
        | Condition::VerifiedEmail
        | Condition::VerifiedPhone
        | Condition::Mfa
        | Condition::Staff
        | Condition::Superuser => {}
    }
    fields.whole()
}

fn of_agents(agents: &RouteAgents, all: &Agents) -> Vec<u8> {
    let RouteAgents {
        permission,
        redact,
        cost,
        hold,
        mode,
        is_result_replayed,
        is_idempotent,
        approvers,
        decide_within,
        execute_within,
        bound_headers,
        // How long an agent may wait for an answer that is the same then.
        wait: _,
    } = agents;
    let mut fields = Fields::new("agents");
    fields.text(permission.as_str());
    fields.bytes(&all.redacting(redact.as_ref()).as_ref().map(of_redact).unwrap_or_default());
    fields.bytes(&cost.as_ref().map(of_cost).unwrap_or_default());
    fields.bytes(&of_hold(hold));
    let rule = approvers.as_ref().map_or_else(Approvers::delegator, RouteApprovers::rule);
    fields.set(rule.0.iter().map(|group| of_group(&group.any_of, group.need)).collect());
    fields.span(*decide_within);
    fields.span(*execute_within);
    fields.set(bound_headers.iter().map(|name| name.to_ascii_lowercase().into_bytes()).collect());
    // Younger than the form: digested only where they are said, so that an upgrade ends nothing.
    let younger = [
        ("sealed", *mode == HoldMode::Sealed),
        ("replay_result", *is_result_replayed),
        ("idempotent", *is_idempotent),
    ];
    let said = younger.iter().filter(|(_, is_said)| *is_said);
    let said: Vec<Vec<u8>> = said.map(|(name, _)| name.as_bytes().to_vec()).collect();
    if !said.is_empty() {
        fields.set(said);
    }
    fields.whole()
}

fn of_group(any_of: &[Approver], need: u32) -> Vec<u8> {
    let approver = |approver: &Approver| match approver {
        Approver::Delegator => Fields::new("delegator").whole(),
        Approver::Role(code) => Fields::new("role").and(code.as_str()),
        Approver::OrgRole(code) => Fields::new("org_role").and(code.as_str()),
    };
    let mut fields = Fields::new("group");
    fields.number(need.into());
    fields.set(any_of.iter().map(approver).collect());
    fields.whole()
}

/// What is hidden in the end, whether the route says so or all do.
fn of_redact(redacting: &Redacting) -> Vec<u8> {
    let Redacting { keys, on_other, buffer: _ } = redacting;
    let mut fields = Fields::new("redact");
    fields.set(keys.iter().map(|key| key.clone().into_bytes()).collect());
    fields.text(on_other.name());
    fields.whole()
}

fn of_cost(cost: &RouteCost) -> Vec<u8> {
    let RouteCost { flat_usd, llm, prices, output_max, cap, allow } = cost;
    let mut fields = Fields::new("cost");
    fields.flag(flat_usd.is_some());
    fields.number(flat_usd.map_or(0, |money| money.as_micros().unsigned_abs()));
    fields.maybe(llm.map(Llm::name));
    fields.count(prices.len());
    for (model, price) in prices {
        fields.text(model);
        fields.number(price.input.as_micros().unsigned_abs());
        fields.number(price.output.as_micros().unsigned_abs());
    }
    fields.number((*output_max).into());
    // These are newer than the form.
    if let Some(cap) = cap {
        fields.text("cap");
        fields.text(cap);
    }
    if !allow.is_empty() {
        fields.text("allow");
        fields.count(allow.len());
        for (name, tokens) in allow {
            fields.text(name);
            fields.number((*tokens).into());
        }
    }
    for (model, price) in prices {
        let TokenPrices { input: _, output: _, cache_write, cache_write_1h, cache_read } = price;
        for (name, price) in
            [("cache_write", cache_write), ("cache_write_1h", cache_write_1h), ("cache_read", cache_read)]
        {
            if let Some(price) = price {
                fields.text(name);
                fields.text(model);
                fields.number(price.as_micros().unsigned_abs());
            }
        }
    }
    fields.whole()
}

fn of_hold(hold: &Hold) -> Vec<u8> {
    match hold {
        Hold::Word(HoldWord::Never) => Fields::new("never").whole(),
        Hold::Word(HoldWord::Always) => Fields::new("always").whole(),
        Hold::When(held) => of_comparison(&held.when),
    }
}

fn of_comparison(when: &Comparison) -> Vec<u8> {
    let mut fields = Fields::new("when");
    fields.text(&when.pointer);
    for test in when.tests() {
        fields.text(test.name());
        match test {
            Test::Above(bound) | Test::AtLeast(bound) | Test::Below(bound) | Test::AtMost(bound) => {
                fields.bytes(&of_number(bound));
            }
            Test::In(list) | Test::NotIn(list) => fields.set(list.iter().map(of_scalar).collect()),
            Test::Present | Test::Absent => {}
        }
    }
    fields.whole()
}

fn of_scalar(scalar: &Scalar) -> Vec<u8> {
    match scalar {
        Scalar::Flag(is_so) => Fields::new("flag").and(if *is_so { "true" } else { "false" }),
        Scalar::Number(number) => [&b"number"[..], &of_number(number.0)].concat(),
        Scalar::Text(text) => Fields::new("text").and(text),
    }
}

/// The same for both zeros.
fn of_number(number: f64) -> Vec<u8> {
    (number + 0.0).to_bits().to_be_bytes().to_vec()
}
