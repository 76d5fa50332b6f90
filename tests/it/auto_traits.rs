//! Every public type is `Debug`, `Send`, `Sync`, `UnwindSafe` and `RefUnwindSafe`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use pidwait::*;

fn check<T: Debug + Send + Sync + UnwindSafe + RefUnwindSafe>() {}

macro_rules! check {
    ($($(#[$feature:meta])? $type:ty),* $(,)?) => {
        /// Checked by the compiler.
        #[test]
        fn public_types_have_the_auto_traits() {
            $($(#[$feature])? check::<$type>();)*
        }

        const CHECKED: &[&str] = &[$(stringify!($type)),*];
    };
}

check!(
    #[cfg(feature = "async-io")]
    AsyncIoPidHandle,
    Backend,
    Capture,
    CaptureError,
    Captured,
    Escalation,
    ExitFd,
    Exited<()>,
    Identity,
    InsertError<()>,
    IntoIter<()>,
    Iter<'static, ()>,
    KillOnDrop,
    Missing,
    ParseIdentityError,
    PidHandle,
    Pipe,
    ProcessGroup,
    ResourceUsage,
    Spawned,
    Support,
    #[cfg(feature = "tokio")]
    TokioPidHandle,
    WaitKey,
    WaitSet<()>,
);

/// It is a `&mut`, which is not `UnwindSafe`; nor is std's.
#[test]
fn mutable_iterator_has_the_other_auto_traits() {
    fn check<T: Debug + Send + Sync + RefUnwindSafe>() {}
    check::<IterMut<'static, ()>>();
}

/// The re-exports in src/lib.rs, without functions and traits.
#[test]
fn all_public_types_are_checked() {
    let exports = include_str!("../../src/lib.rs").split("\npub use ").skip(1);
    let exported: BTreeSet<&str> = exports
        .filter_map(|export| export.split(';').next()?.split_once("::"))
        .flat_map(|(_, names)| names.split(|char: char| !char.is_alphanumeric()))
        .filter(|name| {
            name.starts_with(char::is_uppercase) && !["ChildExt", "Guarded", "IterMut", "Piped"].contains(name)
        })
        .collect();
    let checked = CHECKED
        .iter()
        .filter_map(|name| name.split(&['<', ' ']).next());
    assert_eq!(exported, checked.collect());
}
