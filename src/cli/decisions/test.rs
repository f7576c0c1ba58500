//! `portcullis test FILE`: whether requests come to what a table says that they come to.
//! What a test expects and what it got stand beside each other.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Case, Verdict, read_all, verdict_of};
use crate::cli::office::Office;
use crate::cli::open;
use crate::cli::out::{AsJson, Failure, Format, Out};
use crate::gate::Explanation;
use crate::server;

/// Test decisions: requests, who sends them, and what must become of them
///
/// Exit code 0 when all came as they must, 1 when one did not, 2 when a file cannot mean what it says.
/// Nothing is sent, counted or changed.
#[derive(clap::Args, Debug)]
pub struct Test {
    /// YAML files with tests
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    json: AsJson,
}

/// How a test came out.
struct Outcome {
    name: String,
    /// What it expected, and what it got, in words.
    expected: String,
    got: String,
    is_passed: bool,
    told: Value,
}

impl Test {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let cases = read_all(&self.files)?;
        let outcomes = open::block_on(async {
            let office = Office::open(path).await?;
            let config = office.app.config();
            let gate = server::open_gate(&office.app, &config).map_err(Failure::problem)?;
            let mut outcomes = Vec::new();
            for case in &cases {
                outcomes.push(Outcome::of(case, &case.ask(&office, &gate).await?));
            }
            Ok(outcomes)
        })?;
        let failed = outcomes.iter().filter(|outcome| !outcome.is_passed).count();
        let passed = outcomes.len() - failed;
        match self.json.format() {
            Format::Json => out.json(&json!({
                "passed": passed, "failed": failed,
                "tests": outcomes.iter().map(Outcome::as_json).collect::<Value>(),
            }))?,
            Format::Text => {
                for outcome in &outcomes {
                    out.line(outcome.line())?;
                }
                out.line(format_args!("{passed} passed, {failed} failed"))?;
            }
        }
        if failed == 0 { Ok(()) } else { Err(Failure::Told) }
    }
}

impl Outcome {
    fn of(case: &Case, told: &Explanation) -> Self {
        let verdict = verdict_of(told);
        let (status, code) = match &told.refusal {
            Some(refusal) => (Some(refusal.status().as_u16()), Some(refusal.code())),
            None => (None, None),
        };
        let is_passed = verdict == Some(case.expect)
            && (case.status.is_none() || case.status == status)
            && (case.code.is_none() || case.code.as_deref() == code);
        let got = verdict.map_or("pass or wait, by its body", Verdict::name);
        let words = |verdict: &str, status: Option<u16>, code: Option<&str>| {
            let status = status.map(|status| status.to_string());
            let parts = [Some(verdict.to_owned()), status, code.map(str::to_owned)];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        Self {
            name: case.name.clone(),
            expected: words(case.expect.name(), case.status, case.code.as_deref()),
            got: words(got, status, code),
            is_passed,
            told: json!({
                "verdict": verdict.map(Verdict::name), "status": status, "code": code,
                "failed": told.refusal.as_ref().and_then(|refusal| refusal.failed().map(str::to_owned)),
                "route": told.route,
            }),
        }
    }

    fn line(&self) -> String {
        let Self { name, expected, got, is_passed, .. } = self;
        if *is_passed {
            format!("ok      {name}")
        } else {
            format!("FAILED  {name}: expected {expected}, got {got}")
        }
    }

    fn as_json(&self) -> Value {
        json!({"name": self.name, "passed": self.is_passed, "expected": self.expected, "got": self.told})
    }
}
