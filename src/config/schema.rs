//! The JSON Schema of the file: generated from the raw types, completed by the base's defaults.
//!
//! Law: what this schema says is what `conform` checks, so an editor and the gateway agree.

use serde_json::{Value as Json, json};

use super::preset;
use super::raw::Raw;
use super::tree::{Node, Origin, Value};

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Json {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>().to_value();
    schema["title"] = json!("portcullis.yaml");
    with_defaults(&mut schema, &preset::base());
    for preset in preset::Preset::ALL {
        with_defaults(&mut schema, &preset.values());
    }
    strip_formats(&mut schema);
    schema
}

/// Marks what has a default as optional, and shows the default where presets do not differ.
fn with_defaults(schema: &mut Json, lower: &Node) {
    let Value::Map(entries) = &lower.value else { return };
    for entry in entries {
        if entry.key == "*" {
            for items in ["items", "additionalProperties"] {
                if schema[items].is_object() {
                    with_defaults(&mut schema[items], &entry.node);
                }
            }
            continue;
        }
        let key = entry.key.strip_suffix('?').unwrap_or(&entry.key);
        each_branch(schema, &mut |schema| {
            if schema.get("properties").and_then(|all| all.get(key)).is_none() {
                return;
            }
            if let Some(required) = schema.get_mut("required").and_then(Json::as_array_mut) {
                required.retain(|own| own != key);
            }
            let property = &mut schema["properties"][key];
            let is_leaf = !matches!(entry.node.value, Value::Map(_));
            if is_leaf && entry.node.origin == Origin::Default {
                property["default"] = entry.node.to_json();
            }
            with_defaults(property, &entry.node);
        });
    }
    if let Some(required) = schema.get("required").and_then(Json::as_array)
        && required.is_empty()
        && let Some(object) = schema.as_object_mut()
    {
        object.remove("required");
    }
}

/// The schema itself and its alternatives.
fn each_branch(schema: &mut Json, visit: &mut dyn FnMut(&mut Json)) {
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get_mut(key).and_then(Json::as_array_mut) {
            for branch in branches {
                each_branch(branch, visit);
            }
        }
    }
    visit(schema);
}

/// Removes `uint32` and the like, which say nothing that minimum and maximum do not.
fn strip_formats(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            if map
                .get("format")
                .and_then(Json::as_str)
                .is_some_and(|f| f.starts_with("uint") || f == "double")
            {
                map.remove("format");
            }
            map.values_mut().for_each(strip_formats);
        }
        Json::Array(items) => items.iter_mut().for_each(strip_formats),
        _ => {}
    }
}
