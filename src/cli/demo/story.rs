//! The story of an agent in calls: what it may do, what waits for people, and what stops it.
//!
//! Law: the agent's limits are such that the story can be pasted in one go or slowly, and ends the
//! same way.

use super::guide::{Guide, Section, Step, take};

const DELEGATION: &str = r#"{"agent_id":"finance-agent-v2","expires_in":3600,"permissions":["read:reports","write:invoices"],"organization":"acme-corp","budget_limit_usd":5.00,"circuit_breaker":{"max_requests_per_minute":30,"max_requests_total":500},"dead_mans_switch":{"heartbeat_required_every":300}}"#;
const USAGE: &str = r#"{"cost_usd":0.042,"prompt_tokens":1250,"completion_tokens":450}"#;

pub fn sections(guide: &Guide) -> Vec<Section> {
    vec![delegation(), approval_by_call(), approval_on_the_page(guide), limits(), stopping()]
}

fn delegation() -> Section {
    Section {
        title: "An agent borrows rights",
        steps: vec![
            Step::new(
                "Ada is finance in Acme Corp. She delegates what that permits her there for an hour, with five dollars and a sign of life every five minutes.",
                [
                    format!("MINTED=$(human $API/ai/tokens/ -d '{DELEGATION}')"),
                    r#"echo "$MINTED""#.to_owned(),
                    take("ID", "id", "MINTED"),
                    take("AGENT", "token", "MINTED"),
                ],
            ),
            Step::new(
                "Allowed. It costs a cent: X-Budget-Remaining says what is left, and the backend sees Ada and her agent.",
                ["agent -i $GW/reports"],
            ),
            Step::new(
                "Refused by scope: Ada may read forecasts, but did not delegate it.",
                ["agent $GW/forecasts"],
            ),
            Step::new(
                "Refused: no agent passes where the route does not say so.",
                ["agent $GW/invoices -H 'X-Org-Slug: acme-corp'"],
            ),
            Step::new(
                "Refused because the human lacks it: an operator makes Ada a mere member, and her agent has lost it with her. The gateway knows within a second.",
                [
                    "operator org add acme-corp ada@example.com --role member; sleep 1",
                    r#"agent $GW/invoices/7/pay -d '{"amount":120}'"#,
                    "operator org add acme-corp ada@example.com --role finance; sleep 1",
                ],
            ),
            Step::new(
                "What would become of it now: every condition with its answer. Nothing is counted.",
                [r#"operator explain --agent "$ID" POST /invoices/7/pay"#],
            ),
        ],
    }
}

fn approval_by_call() -> Section {
    Section {
        title: "A human must agree",
        steps: vec![
            Step::new("Small sums pass.", [r#"agent $GW/invoices/7/pay -d '{"amount":5}'"#]),
            Step::new(
                "More than 100 is held: 202, and a token that names what waits.",
                [
                    r#"HELD=$(agent $GW/invoices/7/pay -d '{"amount":120}')"#.to_owned(),
                    r#"echo "$HELD""#.to_owned(),
                    take("TOKEN", "confirmation_token", "HELD"),
                ],
            ),
            Step::new("Ada sees exactly what would be sent.", ["human $API/ai/pending-actions/"]),
            Step::new("She confirms.", [r#"human -X POST "$API/ai/pending-actions/$TOKEN/confirm/""#]),
            Step::new(
                "The agent sends the same again, and it is done.",
                [r#"agent $GW/invoices/7/pay -H "X-Action-Confirmation: $TOKEN" -d '{"amount":120}'"#],
            ),
            Step::new(
                "Once: to send it again is refused.",
                [r#"agent $GW/invoices/7/pay -H "X-Action-Confirmation: $TOKEN" -d '{"amount":120}'"#],
            ),
        ],
    }
}

fn approval_on_the_page(guide: &Guide) -> Section {
    let (email, password) = (guide.ada.email, guide.ada.password.expose());
    let status = r"-o /dev/null -w '[%{http_code}]\n'";
    Section {
        title: "The same on the page",
        steps: vec![
            Step::new(
                "Another payment waits. The log of the demo shows the mail to Ada, with the address of its page.",
                [
                    r#"HELD=$(agent $GW/invoices/8/pay -d '{"amount":300}')"#.to_owned(),
                    r#"echo "$HELD""#.to_owned(),
                    take("TOKEN", "confirmation_token", "HELD"),
                    r#"PAGE=$GW/portcullis/approvals/$(echo "$HELD" | field approval_id)/"#.to_owned(),
                    r#"echo "$PAGE""#.to_owned(),
                ],
            ),
            Step::new(
                "Open that address in a browser, log in as Ada, read, press Approve. Or let curl fill in the forms:",
                [
                    "JAR=$(mktemp)".to_owned(),
                    format!(
                        r#"curl -sS -c "$JAR" {status} $GW/portcullis/login/ --data-urlencode 'email={email}' --data-urlencode 'password={password}'"#
                    ),
                    r#"CSRF=$(curl -sS -b "$JAR" "$PAGE" | sed -nE 's/.*name="csrf" value="([^"]+)".*/\1/p' | head -n 1)"#
                        .to_owned(),
                    format!(r#"curl -sS -b "$JAR" {status} "${{PAGE}}approve/" -d "csrf=$CSRF"; rm "$JAR""#),
                ],
            ),
            Step::new(
                "Approved: the agent goes on.",
                [r#"agent $GW/invoices/8/pay -H "X-Action-Confirmation: $TOKEN" -d '{"amount":300}'"#],
            ),
        ],
    }
}

fn limits() -> Section {
    Section {
        title: "What an agent must say, and what it may spend",
        steps: vec![
            Step::new(
                "It is alive. Without this it is suspended.",
                [r#"agent -X POST "$API/ai/tokens/$ID/heartbeat/""#],
            ),
            Step::new(
                "It reports what it spent elsewhere.",
                [format!(r#"agent "$API/ai/tokens/$ID/report-usage/" -d '{USAGE}'"#)],
            ),
            Step::new(
                "The budget is exhausted: it is suspended, and refused from now on.",
                [r#"agent "$API/ai/tokens/$ID/report-usage/" -d '{"cost_usd":5.00}'"#, "agent $GW/reports"],
            ),
            Step::new(
                "Ada lets it go on. That adds no money: what costs nothing passes, what costs suspends it again.",
                [
                    r#"human -X POST "$API/ai/tokens/$ID/resume/""#,
                    r#"agent $GW/invoices/7/pay -d '{"amount":5}'"#,
                    "agent $GW/reports",
                ],
            ),
        ],
    }
}

fn stopping() -> Section {
    Section {
        title: "Stop it",
        steps: vec![
            Step::new(
                "By hand, and back again.",
                [
                    r#"human -X POST "$API/ai/tokens/$ID/resume/""#,
                    r#"human -X POST "$API/ai/tokens/$ID/suspend/""#,
                    r#"agent $GW/invoices/7/pay -d '{"amount":5}'"#,
                    r#"human -X POST "$API/ai/tokens/$ID/resume/""#,
                    r#"agent $GW/invoices/7/pay -d '{"amount":5}'"#,
                ],
            ),
            Step::new(
                "The kill switch: all agents of Ada, at once and for good.",
                ["human -X POST $API/ai/tokens/revoke-all/", r#"agent $GW/invoices/7/pay -d '{"amount":5}'"#],
            ),
            Step::new(
                "What that prompt caused stands in the audit trail.",
                ["sleep 1; operator audit tail -n 200 | grep trace_7f3a2b9c | tail -n 5"],
            ),
        ],
    }
}
