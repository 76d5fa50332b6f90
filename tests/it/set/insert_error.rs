//! The error of an `insert`.

use std::error::Error;
use std::io;

use pidwait::WaitSet;

use super::own_process;
use crate::common::backends;
use nix::libc::EINVAL;

/// Without `Debug` and `Clone`, because the set requires no trait of its values.
struct Value;

/// An error report prints the message and that of each source: no text may come twice.
#[test]
fn insert_error_prints_its_cause_once() {
    for backend in backends() {
        let handle = own_process(backend);
        handle.release().unwrap();
        let mut set = WaitSet::new().unwrap();
        let Err(failed) = set.insert(handle, Value) else {
            panic!("a released handle was inserted");
        };
        let mut report = failed.to_string();
        let mut source = failed.source();
        while let Some(error) = source {
            report = format!("{report}: {error}");
            source = error.source();
        }
        let cause = failed.error.to_string();
        assert!(report.contains(&std::process::id().to_string()), "{report}");
        assert_eq!(report.matches(&cause).count(), 1, "{report}");
        assert!(format!("{failed:?}").contains("error"));
        assert_eq!(io::Error::from(failed).raw_os_error(), Some(EINVAL));
    }
}
