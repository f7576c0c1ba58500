//! `portcullis check`: says what is wrong with the configuration, and with
//! `--effective` every value in effect and where it came from. Nothing is opened but files.

use std::path::Path;

use serde_json::{Value, json};

use super::out::{AsJson, Failure, Format, Out, note};
use crate::config::{self, Loaded, Preset, Problem};

/// Check the configuration, and say what is wrong with it
///
/// First everything that cannot be read as what it should be; once all of that is right, everything that does
/// not fit together. Exit code 0 when it can be used, 1 when not; a seal key that is not there is warned of, because another
/// machine may have it. Nothing is started or opened.
#[derive(clap::Args, Debug)]
pub struct Check {
    /// Print every value in effect and where it came from
    #[arg(long)]
    effective: bool,
    #[command(flatten)]
    json: AsJson,
}

impl Check {
    pub fn run(&self, path: &Path, out: &mut Out) -> Result<(), Failure> {
        let loaded = config::load(path).map(with_seal_key);
        if self.json.format() == Format::Json {
            out.json(&self.as_json(&loaded))?;
            return loaded.map(drop).map_err(|_| Failure::Told);
        }
        let loaded = loaded.map_err(Failure::problem)?;
        for warning in &loaded.warnings {
            note(format_args!("warning: {warning}"));
        }
        if self.effective {
            return effective(&loaded, out);
        }
        let routes = count(loaded.config.routes.len(), "route");
        let upstreams = count(loaded.config.upstreams.len(), "upstream");
        out.line(format_args!("{} is good: {routes}, {upstreams}", path.display()))
    }

    fn as_json(&self, loaded: &Result<Loaded, config::Problems>) -> Value {
        match loaded {
            Ok(loaded) => {
                let mut value = json!({"ok": true, "problems": [], "warnings": list(&loaded.warnings)});
                if self.effective {
                    let settings = loaded.config.effective().iter();
                    value["effective"] = settings
                        .map(
                            |own| json!({"path": own.path, "value": own.value, "from": own.from.to_string()}),
                        )
                        .collect();
                }
                value
            }
            Err(problems) => json!({"ok": false, "problems": list(&problems.list), "warnings": []}),
        }
    }
}

/// A configuration is good on a machine without secrets too, but no gateway starts there.
fn with_seal_key(mut loaded: Loaded) -> Loaded {
    // In `development` a gateway makes its own.
    if loaded.config.preset != Preset::Development
        && let Err(cause) = config::seal_key(&loaded.config.keys.seal_file)
    {
        loaded.warnings.push(Problem {
            path: "keys.seal_file".to_owned(),
            line: 0,
            column: 0,
            message: cause.to_string(),
            hint: Some("no gateway starts here without it".to_owned()),
        });
    }
    loaded
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn list(problems: &[Problem]) -> Value {
    let one = |problem: &Problem| {
        json!({
            "path": problem.path, "line": problem.line, "column": problem.column,
            "message": problem.message, "hint": problem.hint,
        })
    };
    problems.iter().map(one).collect()
}

fn effective(loaded: &Loaded, out: &mut Out) -> Result<(), Failure> {
    let settings = loaded.config.effective().iter();
    let rows: Vec<_> =
        settings.map(|own| [own.path.clone(), own.value.clone(), own.from.to_string()]).collect();
    out.table(["setting", "value", "from"], &rows)
}
