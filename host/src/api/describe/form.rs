//! Forms that many operations share.

use serde::Serialize;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The answer of OpenAPI v1 when all went well (manual 3.3).
#[derive(ToSchema)]
#[allow(dead_code, reason = "`v1::success` writes it")]
pub struct Envelope<D: ToSchema> {
    #[schema(example = 200)]
    code: u16,
    #[schema(example = "success")]
    message: String,
    data: D,
}

/// An error of OpenAPI v1 (manual 3.3) and of Ledge's own API. The HTTP status equals `code`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "`ApiError` writes it")]
pub struct Error {
    #[schema(example = 400)]
    code: u16,
    /// What happened, to what, and what to do.
    message: String,
    data: Option<ErrorData>,
}

/// What some errors say besides.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Error`")]
pub struct ErrorData {
    /// Everything that is wrong, of a set that is refused.
    #[schema(nullable = false)]
    problems: Option<Vec<String>>,
    /// Who tried to log in.
    #[schema(rename = "UserName", nullable = false)]
    user_name: Option<String>,
}

/// An error below `/2020-04-30`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Error`")]
pub struct LaterError {
    #[schema(rename = "Code", example = "InvalidParameter")]
    code: String,
    #[schema(rename = "Message")]
    message: String,
}

/// An error below `/2016-08-15`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as for `Error`")]
pub struct FcError {
    #[schema(rename = "ErrorCode", example = "InvalidArgument")]
    code: String,
    #[schema(rename = "ErrorMessage")]
    message: String,
}

/// An empty object: it was done.
#[derive(Serialize, ToSchema)]
pub struct Done {}

/// `null`, and nothing else.
pub struct Nothing;

impl PartialSchema for Nothing {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).into()
    }
}

impl ToSchema for Nothing {}

/// A value of a property, an input or an output. Its form is that of its model: booleans and enumerations are numbers in answers.
pub struct TslValue;

impl PartialSchema for TslValue {
    fn schema() -> RefOr<Schema> {
        let types = [Type::Boolean, Type::Number, Type::String, Type::Object, Type::Array].to_vec();
        let text = "A value, in the form that its model (TSL) says; booleans and enumerations are numbers in answers.";
        ObjectBuilder::new().schema_type(SchemaType::Array(types)).description(Some(text)).into()
    }
}

impl ToSchema for TslValue {}

const VALUE: &str = "TslValue";

/// Values by their names.
pub struct Values;

impl PartialSchema for Values {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(Ref::from_schema_name(VALUE))).into()
    }
}

impl ToSchema for Values {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((VALUE.to_owned(), TslValue::schema()));
    }
}

/// Values by their names, or `[]` where there are none.
pub struct ValuesOrEmpty;

impl PartialSchema for ValuesOrEmpty {
    fn schema() -> RefOr<Schema> {
        let empty = ArrayBuilder::new().items(Ref::from_schema_name(VALUE)).max_items(Some(0));
        OneOfBuilder::new().item(Values::schema()).item(empty).into()
    }
}

impl ToSchema for ValuesOrEmpty {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Values::schemas(schemas);
    }
}

/// Bytes, as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "it describes a body that is no JSON")]
pub struct Binary(Vec<u8>);
