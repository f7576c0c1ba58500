//! What can be bound to a statement and read from a row, the same way on all three databases.
//!
//! Law: a NULL carries its type (PostgreSQL asks for one), and text read from a row passes the
//! same parser that made it.

use sqlx::error::BoxDynError;
use sqlx::{Database, Decode, Type};

use crate::base::{Email, Id, Number, Phone, Slug, Timestamp};
use crate::policy::code::Code;

/// A bound value. Not `Debug`: it may be a secret's digest or a person's address.
#[derive(Clone)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Flag(Option<bool>),
}

/// What `Stmt::bind` takes.
pub trait Bind {
    /// The value as a column holds it.
    fn into_value(self) -> Value;
    /// NULL of this type.
    fn null() -> Value;
}

macro_rules! bind {
    ($kind:ident, $null:ty: $($type:ty => |$value:ident| $column:expr;)+) => {$(
        impl Bind for $type {
            fn into_value(self) -> Value {
                let $value = self;
                Value::$kind(Some($column))
            }
            fn null() -> Value {
                Value::$kind(None::<$null>)
            }
        }
    )+};
}

bind! { Int, i64:
    i64 => |v| v;
    i32 => |v| i64::from(v);
    u32 => |v| i64::from(v);
    u16 => |v| i64::from(v);
    Timestamp => |v| v.as_millis();
    Number => |v| v.0;
}
bind! { Text, String:
    String => |v| v;
    &str => |v| v.to_owned();
    Id => |v| v.to_string();
    Email => |v| v.as_str().to_owned();
    Phone => |v| v.as_str().to_owned();
    Slug => |v| v.as_str().to_owned();
    Code => |v| v.as_str().to_owned();
}
bind! { Bytes, Vec<u8>:
    Vec<u8> => |v| v;
    &[u8] => |v| v.to_vec();
}
bind! { Flag, bool:
    bool => |v| v;
}

impl<T: Bind> Bind for Option<T> {
    fn into_value(self) -> Value {
        self.map_or_else(T::null, T::into_value)
    }
    fn null() -> Value {
        T::null()
    }
}

impl<T: Bind + Clone> Bind for &T {
    fn into_value(self) -> Value {
        self.clone().into_value()
    }
    fn null() -> Value {
        T::null()
    }
}

impl<DB: Database> Type<DB> for Timestamp
where
    i64: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as Type<DB>>::type_info()
    }
    fn compatible(ty: &DB::TypeInfo) -> bool {
        <i64 as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Timestamp
where
    i64: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        i64::decode(value).map(Self::from_millis)
    }
}

impl<DB: Database> Type<DB> for Number
where
    i64: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as Type<DB>>::type_info()
    }
    fn compatible(ty: &DB::TypeInfo) -> bool {
        <i64 as Type<DB>>::compatible(ty)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Number
where
    i64: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxDynError> {
        i64::decode(value).map(Self)
    }
}

/// Makes a type readable from a text column: `text_column!(State, |text| State::parse(text))`,
/// where the function gives an `Option`. What it refuses is [`Error::Broken`](super::Error).
#[macro_export]
macro_rules! text_column {
    ($type:ty, $parse:expr) => {
        impl<DB: ::sqlx::Database> ::sqlx::Type<DB> for $type
        where
            str: ::sqlx::Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <str as ::sqlx::Type<DB>>::type_info()
            }
            fn compatible(ty: &DB::TypeInfo) -> bool {
                <str as ::sqlx::Type<DB>>::compatible(ty)
            }
        }
        impl<'r, DB: ::sqlx::Database> ::sqlx::Decode<'r, DB> for $type
        where
            &'r str: ::sqlx::Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, ::sqlx::error::BoxDynError> {
                let text = <&'r str as ::sqlx::Decode<'r, DB>>::decode(value)?;
                let parse: fn(&str) -> Option<$type> = $parse;
                parse(text).ok_or_else(|| concat!("not a ", stringify!($type)).into())
            }
        }
    };
}

text_column!(Id, |text| text.parse().ok());
text_column!(Email, |text| Email::parse(text).ok());
text_column!(Phone, |text| Phone::parse(text).ok());
text_column!(Slug, |text| Slug::parse(text).ok());
text_column!(Code, |text| Code::parse(text).ok());
