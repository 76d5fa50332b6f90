//! The guides of `docs/`, in the version of this crate.

/// Expands to the definitions of the links from a guide to files of the package.
macro_rules! files {
    ($($file:literal)*) => {
        concat!($(
            "[", $file, "]: https://docs.rs/crate/", env!("CARGO_PKG_NAME"), "/",
            env!("CARGO_PKG_VERSION"), "/source/", $file, "\n",
        )*)
    };
}

// A guide defines its links at its end, for readers in the repository. Of two definitions the first one
// holds, so those that stand before the guide here lead to pages of the documentation.

/// What each call returns, in each case, on both backends.
#[doc = ""]
#[doc = include_str!("../docs/contract.md")]
pub mod contract {}

/// How to move from another crate, call by call. Recipes for signals and groups.
///
/// [comparison]: crate::guide::comparison
/// [`Capture::run_until`]: crate::Capture::run_until
/// [`PidHandle::terminate_in_background`]: crate::PidHandle::terminate_in_background
/// [`ProcessGroup`]: crate::ProcessGroup
/// [`WaitSet::wait`]: crate::WaitSet::wait
#[doc = files!(
    "examples/capture.rs" "examples/init.rs" "examples/interruptible.rs" "examples/pidfile.rs"
    "examples/step.rs" "examples/timeout.rs" "examples/tokio.rs"
)]
#[doc = ""]
#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

/// What other crates do, with the source of each statement.
///
/// [migrating]: crate::guide::migrating
#[doc = ""]
#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

/// For those who decide whether to depend on this crate: releases, dependencies, tests.
///
/// [contract]: crate::guide::contract
#[doc = files!("CHANGELOG.md" "SECURITY.md")]
#[doc = ""]
#[doc = include_str!("../docs/depending.md")]
pub mod depending {}
