//! The schemas of what endpoints take and answer, collected under their names.
//!
//! Law: a field that may be left out of a body is not required; a key of an answer is always
//! there. So inputs and outputs are drawn by two generators whose names must not collide.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Where a document keeps its schemas.
pub const COMPONENTS: &str = "#/components/schemas/";

/// Both generators.
pub struct Shapes {
    pub inputs: SchemaGenerator,
    pub outputs: SchemaGenerator,
}

impl Default for Shapes {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            inputs: settings().for_deserialize().into_generator(),
            outputs: settings().for_serialize().into_generator(),
        }
    }
}

impl Shapes {
    /// The schema that a reference of an input names, or the schema itself.
    #[must_use]
    pub fn input<'a>(&'a self, schema: &'a schemars::Schema) -> &'a Value {
        let name =
            schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix(COMPONENTS));
        name.and_then(|name| self.inputs.definitions().get(name)).unwrap_or(schema.as_value())
    }

    /// Names that stand for different things: in inputs and outputs, or numbered apart.
    #[must_use]
    pub fn collisions(&self) -> Vec<String> {
        let (inputs, outputs) = (self.inputs.definitions(), self.outputs.definitions());
        let numbered = |name: &str| {
            let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
            bare != name && (inputs.contains_key(bare) || outputs.contains_key(bare))
        };
        let differs = |name: &str, schema: &Value| inputs.get(name).is_some_and(|other| other != schema);
        let both = inputs.iter().chain(outputs);
        let collide = both.filter(|(name, schema)| numbered(name) || differs(name, schema));
        collide.map(|(name, _)| name.clone()).collect()
    }

    /// Every named schema.
    #[must_use]
    pub fn into_definitions(mut self) -> Map<String, Value> {
        let mut all = self.inputs.take_definitions(true);
        all.extend(self.outputs.take_definitions(true));
        all
    }
}
