//! What a handler takes: a body, a query, or nothing.
//!
//! Law: the media type, size and shape of a body are checked before a handler runs, and a body
//! that means two things is refused (see `json`). The documented schema of an input names exactly
//! the fields that its reader asks for; a law over the table holds both together.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

use super::call::{Body, Call};
use super::code::ErrorCode;
use super::error::ApiError;
use super::fields::{Fields, Unknown, WHOLE};
use super::reply::Json;
use super::{form, json};

/// The largest body that a built-in endpoint takes, in bytes.
pub const MAX_BODY: usize = 256 * 1024;

/// A value that can be read from the fields of a body or query.
pub trait FromFields: Sized + JsonSchema + Send + 'static {
    /// Asks for every field, then builds the value; `None` where a field was refused. All fields
    /// are asked for before the first `?`, so that a client learns of every mistake at once.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// What the API document says about an input.
#[derive(Debug)]
pub enum Accepts {
    Nothing,
    Body(Offered),
    Query(Offered),
}

/// The fields of an input: as documented, and as its reader asks for them.
#[derive(Debug)]
pub struct Offered {
    pub schema: Schema,
    pub asked: Vec<&'static str>,
    pub required: Vec<String>,
}

/// What a handler may take as its second argument.
pub trait Input: Sized + Send + 'static {
    /// # Errors
    /// 400, 413 or 415 with the reason.
    fn read(call: &Call, body: &Body, unknown: Unknown) -> Result<Self, ApiError>;

    fn describe(generator: &mut SchemaGenerator) -> Accepts;
}

/// No input: whatever was sent is ignored.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Input for Nothing {
    fn read(_: &Call, _: &Body, _: Unknown) -> Result<Self, ApiError> {
        Ok(Self)
    }

    fn describe(_: &mut SchemaGenerator) -> Accepts {
        Accepts::Nothing
    }
}

impl<T: FromFields> Input for Json<T> {
    fn read(_: &Call, body: &Body, unknown: Unknown) -> Result<Self, ApiError> {
        let fields = body_fields(body)?;
        read_fields(fields, unknown).map(Json)
    }

    fn describe(generator: &mut SchemaGenerator) -> Accepts {
        Accepts::Body(offered::<T>(generator))
    }
}

/// The parameters of the query.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: FromFields> Input for Query<T> {
    fn read(call: &Call, _: &Body, unknown: Unknown) -> Result<Self, ApiError> {
        let given = form::fields(call.head.query.as_bytes())
            .map_err(|_| ApiError::new(ErrorCode::BadRequest).saying("The query cannot be read"))?;
        read_fields(Fields::new(given), unknown).map(Query)
    }

    fn describe(generator: &mut SchemaGenerator) -> Accepts {
        Accepts::Query(offered::<T>(generator))
    }
}

/// What an endpoint's own reader makes of the fields of a page's form, which has some of its own beside them.
///
/// # Errors
/// 400 with everything that is wrong.
pub fn read_form<T: FromFields>(given: Map<String, Value>) -> Result<T, ApiError> {
    read_fields(Fields::new(given), Unknown::Ignored)
}

fn read_fields<T: FromFields>(mut fields: Fields, unknown: Unknown) -> Result<T, ApiError> {
    let value = T::from_fields(&mut fields);
    fields.finish(unknown)?;
    value.ok_or_else(|| ApiError::internal("an input was refused without a reason"))
}

/// The fields of a body. An empty one has none, whatever its type.
fn body_fields(body: &Body) -> Result<Fields, ApiError> {
    if body.bytes.len() > MAX_BODY {
        return Err(ApiError::new(ErrorCode::BodyTooLarge));
    }
    if body.bytes.is_empty() {
        return Ok(Fields::new(Map::new()));
    }
    match media_type(body.content_type.as_deref()) {
        Some(Media::Json) => {
            let given = json::object(&body.bytes).map_err(refused_json)?;
            let numbers = json::numbers(&body.bytes, &given);
            Ok(Fields::new(given).with_numbers(numbers))
        }
        // What `curl -d` sends where nobody names the type: read as a form it would lack every field.
        Some(Media::Form) if body.bytes.trim_ascii_start().starts_with(b"{") => {
            Err(ApiError::new(ErrorCode::ParseError)
                .saying("This is JSON, sent as a form: send the header Content-Type: application/json"))
        }
        Some(Media::Form) => form::fields(&body.bytes)
            .map(Fields::new)
            .map_err(|form::Refused| ApiError::new(ErrorCode::ParseError).saying("The form cannot be read")),
        None => Err(ApiError::new(ErrorCode::UnsupportedMediaType)),
    }
}

fn refused_json(refused: json::Refused) -> ApiError {
    let parse = ApiError::new(ErrorCode::ParseError);
    match refused {
        json::Refused::ByteOrderMark => parse.saying("JSON must not begin with a byte order mark"),
        json::Refused::NotUtf8 => parse.saying("JSON must be UTF-8"),
        json::Refused::Malformed => {
            parse.saying("Malformed JSON: not JSON, a key given twice, or nested too deep")
        }
        json::Refused::NotAnObject => {
            ApiError::invalid(WHOLE, &["Invalid data. Expected an object.".to_owned()])
        }
    }
}

enum Media {
    Json,
    Form,
}

/// The media type, where it is one that we read and its charset (if any) is UTF-8.
fn media_type(header: Option<&str>) -> Option<Media> {
    let mut parts = header?.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let mut charsets = parts
        .filter_map(|part| part.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    if !charsets.all(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return None;
    }
    match media.as_str() {
        "application/json" => Some(Media::Json),
        "application/x-www-form-urlencoded" => Some(Media::Form),
        _ => None,
    }
}

/// Reads an empty input, to learn which fields its reader asks for and which it insists on.
fn offered<T: FromFields>(generator: &mut SchemaGenerator) -> Offered {
    let mut fields = Fields::new(Map::new());
    let _refused = T::from_fields(&mut fields);
    let required = fields.problems().keys().filter(|name| *name != WHOLE).cloned().collect();
    Offered { schema: generator.subschema_for::<T>(), asked: fields.asked().to_vec(), required }
}
