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
    #[cfg(feature = "tokio")]
    AsyncCapture<Tokio>,
    #[cfg(feature = "async-io")]
    AsyncIo,
    #[cfg(feature = "async-io")]
    AsyncIoPidHandle,
    #[cfg(feature = "async-io")]
    AsyncIoSpawned,
    #[cfg(feature = "tokio")]
    AsyncPidHandle<Tokio>,
    #[cfg(feature = "tokio")]
    AsyncProcessGroup<Tokio>,
    #[cfg(feature = "tokio")]
    AsyncSpawned<Tokio>,
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
    StoppedBy,
    Support,
    #[cfg(feature = "tokio")]
    Tokio,
    #[cfg(feature = "tokio")]
    TokioPidHandle,
    #[cfg(feature = "tokio")]
    TokioSpawned,
    WaitKey,
    WaitSet<()>,
);

/// It is a `&mut`, which is not `UnwindSafe`; nor is std's.
#[test]
fn mutable_iterator_has_the_other_auto_traits() {
    fn check<T: Debug + Send + Sync + RefUnwindSafe>() {}
    check::<IterMut<'static, ()>>();
}

/// Traits, and `IterMut`, which has a test of its own.
const TRAITS_AND_OTHERS: &[&str] = &["ChildExt", "Guarded", "IterMut", "Piped", "Reactor"];

/// The re-exports in src/lib.rs, without functions and traits.
#[test]
fn all_public_types_are_checked() {
    let exports = include_str!("../../src/lib.rs").split("\npub use ").skip(1);
    let exported: BTreeSet<&str> = exports
        .filter_map(|export| export.split(';').next()?.split_once("::"))
        .flat_map(|(_, names)| names.split(|char: char| !char.is_alphanumeric()))
        .filter(|name| name.starts_with(char::is_uppercase) && !TRAITS_AND_OTHERS.contains(name))
        .collect();
    let checked = CHECKED
        .iter()
        .filter_map(|name| name.split(&['<', ' ']).next());
    assert_eq!(exported, checked.collect());
}
