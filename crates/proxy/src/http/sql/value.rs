//! One column's value: from Postgres's text to JSON, in parts as they come.
//!
//! Booleans, small integers and finite floats become themselves, `json` and `jsonb` are put in as they are, and arrays
//! of the types that Postgres brings become lists. Everything else is a string, `int8` and `numeric` above all: a
//! reader of JSON would round them. So does Neon's proxy, to which drivers are made.

mod array;
mod scalar;

use tokio_postgres::types;

use self::array::Array;
use self::scalar::Scalar;
use super::error::Failure;
use super::text::Utf8;

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    One(Type),
    /// A list of these, which Postgres separates by this byte.
    List(Type, u8),
}

/// What a value becomes that is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Boolean,
    /// If it is finite, else a string.
    Number,
    Json,
}

impl Kind {
    /// Every value as a string of what Postgres says.
    pub(super) const RAW: Self = Self::One(Type::Text);

    /// By the type's OID. The arrays of types that somebody has made cannot be told from other types of theirs.
    pub(super) fn of(oid: u32) -> Self {
        let Some(known) = types::Type::from_oid(oid) else { return Self::RAW };
        match known.kind() {
            // Arrays in name only: they are written without braces.
            _ if matches!(known, types::Type::INT2_VECTOR | types::Type::OID_VECTOR) => Self::RAW,
            types::Kind::Array(element) => {
                Self::List(Type::of(element), if *element == types::Type::BOX { b';' } else { b',' })
            }
            _ => Self::One(Type::of(&known)),
        }
    }
}

impl Type {
    fn of(known: &types::Type) -> Self {
        match *known {
            types::Type::BOOL => Self::Boolean,
            types::Type::INT2 | types::Type::INT4 | types::Type::FLOAT4 | types::Type::FLOAT8 => Self::Number,
            types::Type::JSON | types::Type::JSONB => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Whether `json` keeps its line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breaks {
    Kept,
    /// They become blanks.
    Blank,
}

/// The value that comes just now.
#[derive(Debug)]
pub(super) struct Value {
    utf8: Utf8,
    scalar: Scalar,
    array: Option<Array>,
}

impl Value {
    pub(super) fn new(breaks: Breaks) -> Self {
        Self { utf8: Utf8::default(), scalar: Scalar::new(breaks), array: None }
    }

    /// A value begins that is not NULL.
    #[inline]
    pub(super) fn begin(&mut self, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::One(kind) => {
                self.array = None;
                self.scalar.begin(kind, out);
            }
            Kind::List(element, delimiter) => self.array = Some(Array::new(element, delimiter)),
        }
    }

    /// Appends what these bytes of it become.
    #[inline]
    pub(super) fn part(&mut self, part: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        self.utf8.check(part)?;
        match &mut self.array {
            None => self.scalar.part(part, out),
            Some(array) => array.part(part, &mut self.scalar, out),
        }
    }

    /// The value ends.
    #[inline]
    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        self.utf8.end()?;
        match &self.array {
            None => self.scalar.end(out),
            Some(array) => array.end(),
        }
    }
}
