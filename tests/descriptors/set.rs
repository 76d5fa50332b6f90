//! `WaitSet`, and the async handles.

use std::time::Duration;

use pidwait::{Backend, WaitSet};

use crate::{settle, unless_emfile, zombie};
use crate::{Case, Emfile};

pub(crate) const CASES: &[(&str, Case)] = &[
    ("WaitSet::new", |emfile, _| {
        unless_emfile(emfile.during(WaitSet::<()>::new));
    }),
    ("WaitSet::insert", |emfile, backend| {
        let mut set = WaitSet::new().expect("a set");
        let handle = zombie(backend);
        let handle = match emfile.during(|| set.insert(handle, "value")) {
            Ok(key) => set.remove(key).expect("it is a member").0,
            Err(rejected) => {
                assert_eq!((set.len(), rejected.value), (0, "value"));
                unless_emfile(Err::<(), _>(rejected.error));
                rejected.handle
            }
        };
        settle(&handle, None);
    }),
    ("WaitSet::wait", |emfile, backend| {
        reported(emfile, backend, |set| set.wait());
    }),
    ("WaitSet::wait_timeout", |emfile, backend| {
        reported(emfile, backend, |set| set.wait_timeout(Duration::MAX));
    }),
    ("WaitSet::wait_exited", |emfile, backend| {
        reported(emfile, backend, |set| set.wait_exited());
    }),
    ("WaitSet::remove", |emfile, backend| {
        let mut set = WaitSet::new().expect("a set");
        let key = set.insert(zombie(backend), ()).expect("insert");
        let (handle, ()) = emfile.during(|| set.remove(key)).expect("it was a member");
        assert!(set.is_empty());
        settle(&handle, None);
        assert!(set.wait().expect("wait").is_none());
    }),
    #[cfg(feature = "tokio")]
    ("TokioPidHandle::new", |emfile, backend| {
        let handle = zombie(backend);
        let result = emfile.during(|| {
            let _inside = runtime().enter();
            pidwait::TokioPidHandle::new(&handle)
        });
        unless_emfile(result);
        settle(&handle, None);
    }),
    #[cfg(feature = "async-io")]
    ("AsyncIoPidHandle::new", |emfile, backend| {
        let handle = zombie(backend);
        unless_emfile(emfile.during(|| pidwait::AsyncIoPidHandle::new(&handle)));
        settle(&handle, None);
    }),
];

/// Starts the reactors before descriptors are counted: their own descriptors and threads stay open.
pub(crate) fn start_reactors() {
    #[cfg(feature = "tokio")]
    runtime();
    #[cfg(feature = "async-io")]
    {
        let (end, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
        async_io::Async::new(end).expect("registered");
    }
}

#[cfg(feature = "tokio")]
fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().build().expect("a runtime")
    })
}

type Reported = std::io::Result<Option<pidwait::Exited<()>>>;

/// Asserts that the exit is reported exactly once, by a second wait if the first one failed.
fn reported(emfile: &Emfile, backend: Backend, wait: fn(&mut WaitSet<()>) -> Reported) {
    let mut set = WaitSet::new().expect("a set");
    set.insert(zombie(backend), ()).expect("insert");
    let result = emfile.during(|| wait(&mut set));
    let exited = unless_emfile(result).unwrap_or_else(|| set.wait().expect("the exit is not lost"));
    let exited = exited.expect("the set was not empty");
    settle(&exited.handle, exited.status);
    assert!(set.wait().expect("wait").is_none(), "reported twice");
}
