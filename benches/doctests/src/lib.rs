//! The programs of docs/migrating.md, which run as doctests.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/migrating.md")]
mod migrating {}
