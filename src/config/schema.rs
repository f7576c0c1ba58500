//! The JSON Schema of the file: generated from the raw types, completed by the base's defaults.
//!
//! Law: what this schema says is what `conform` checks, so an editor and the gateway agree.

use serde_json::{Value as Json, json};

use super::preset;
use super::raw::Raw;
use super::tree::{Node, Origin, Value};

/// Marks, while the schema is made, what some layer sets to `null`.
const NULLABLE: &str = "nullable";

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Json {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Raw>().to_value();
    schema["title"] = json!("portcullis.yaml");
    remove_defaults(&mut schema);
    // The generator writes the first of nested policies out; they are all the same.
    let allow = &mut schema["properties"]["routes"]["items"]["properties"]["allow"];
    *allow = json!({ "description": "Who may pass.", "$ref": "#/$defs/Allow" });
    with_defaults(&mut schema, &preset::base());
    for preset in preset::Preset::ALL {
        with_defaults(&mut schema, &preset.values());
    }
    strip_formats(&mut schema);
    refuse_null(&mut schema);
    schema
}

/// The generator knows only the defaults of our types; those of the file stand in `default/`.
fn remove_defaults(schema: &mut Json) {
    each_object(schema, &mut |map| {
        map.remove("default");
    });
}

/// `null` is possible where it is a default, and nowhere else: an empty `permission:` in a policy
/// is a mistake, not a condition left out.
fn refuse_null(schema: &mut Json) {
    each_object(schema, &mut |map| {
        let Some(properties) = map.get_mut("properties").and_then(Json::as_object_mut) else { return };
        for property in properties.values_mut() {
            if property.as_object_mut().is_some_and(|own| own.remove(NULLABLE).is_some()) {
                continue;
            }
            for list in ["type", "enum", "anyOf"] {
                if let Some(list) = property.get_mut(list).and_then(Json::as_array_mut) {
                    list.retain(|own| !own.is_null() && own != "null" && own != &json!({ "type": "null" }));
                }
            }
        }
    });
}

/// Every schema inside a schema, itself included; a map of properties is not a schema.
fn each_object(schema: &mut Json, visit: &mut dyn FnMut(&mut serde_json::Map<String, Json>)) {
    match schema {
        Json::Object(map) => {
            visit(map);
            for (key, inner) in map {
                match inner {
                    Json::Object(named) if key == "properties" || key == "$defs" => {
                        named.values_mut().for_each(|inner| each_object(inner, visit));
                    }
                    inner => each_object(inner, visit),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|inner| each_object(inner, visit)),
        _ => {}
    }
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
            if entry.node.value == Value::Null {
                property[NULLABLE] = json!(true);
            }
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
    each_object(schema, &mut |map| {
        if map.get("format").and_then(Json::as_str).is_some_and(|f| f.starts_with("uint") || f == "double") {
            map.remove("format");
        }
    });
}
