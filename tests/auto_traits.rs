//! Every public type is `Debug`, `Send`, `Sync`, `UnwindSafe` and `RefUnwindSafe`. A separate binary,
//! so that a type that is not fails here alone.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use pidwait::*;

fn check<T: Debug + Send + Sync + UnwindSafe + RefUnwindSafe>() {}

macro_rules! check {
    ($($(#[$feature:meta])? $name:ident $(<$parameter:ty>)?),* $(,)?) => {
        /// Checked by the compiler.
        #[test]
        fn public_types_have_the_auto_traits() {
            $($(#[$feature])? check::<$name $(<$parameter>)?>();)*
        }

        const CHECKED: &[&str] = &[$(stringify!($name)),*];
    };
}

check!(
    Backend,
    Captured,
    ExitFd,
    Exited<()>,
    Identity,
    InsertError<()>,
    KillOnDrop,
    Missing,
    ParseIdentityError,
    PidHandle,
    ResourceUsage,
    Spawned,
    Support,
    TimedOut,
    WaitKey,
    WaitSet<()>,
);

/// The re-exports in src/lib.rs, without functions and traits.
#[test]
fn all_public_types_are_checked() {
    let exports = include_str!("../src/lib.rs").split("\npub use ").skip(1);
    let exported: BTreeSet<&str> = exports
        .filter_map(|export| export.split(';').next()?.split_once("::"))
        .flat_map(|(_, names)| names.split(|char: char| !char.is_alphanumeric()))
        .filter(|name| name.starts_with(char::is_uppercase) && *name != "ChildExt")
        .collect();
    assert_eq!(exported, CHECKED.iter().copied().collect());
}
