//! Keeps the SIGCHLD handlers of the contenders apart.

use std::cell::RefCell;
use std::collections::HashMap;

use nix::sys::signal::{sigaction, SaFlags, SigAction, SigHandler, SigSet, Signal};

/// Runs a contender with the SIGCHLD handler that it has set before, if any, and then removes the
/// handler again: it would interrupt the other contenders.
pub(crate) fn with_own_handler<T>(name: &'static str, run: impl FnOnce() -> T) -> T {
    thread_local! {
        static HANDLERS: RefCell<HashMap<&'static str, SigAction>> = RefCell::default();
    }
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let own = HANDLERS.with_borrow(|handlers| handlers.get(name).copied());
    set(&own.unwrap_or(default));
    let value = run();
    let left = set(&default);
    HANDLERS.with_borrow_mut(|handlers| handlers.insert(name, left));
    value
}

fn set(action: &SigAction) -> SigAction {
    // SAFETY: the action is the default one, or one that a crate has set for this very signal.
    unsafe { sigaction(Signal::SIGCHLD, action) }.expect("SIGCHLD can have a handler")
}
