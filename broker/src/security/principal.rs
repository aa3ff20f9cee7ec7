//! The identity of a connection.

use std::fmt;

use ottla_wire::Str;

/// A Kafka principal: a type (`User`) and a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The principal's type; `User` unless a principal builder says otherwise.
    pub kind: Str,
    /// The name within the type.
    pub name: Str,
}

impl Principal {
    /// Who a client on an unauthenticated listener is.
    pub fn anonymous() -> Self {
        Self { kind: Str::from_static("User"), name: Str::from_static("ANONYMOUS") }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}
