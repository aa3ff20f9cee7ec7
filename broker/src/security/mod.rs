//! Who asks (principal) and whether they may (authoriser). Every request carries a [`Principal`]; every handler
//! asks the [`Authoriser`] for each resource that it touches.

mod authoriser;
mod principal;

pub use authoriser::{Action, AllowAll, Authoriser, Operation, Resource};
pub use principal::Principal;
