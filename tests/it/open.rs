//! `PidHandle::open` and `open_with`: existing processes, missing ones and invalid PIDs.

use std::io::ErrorKind;
use std::process;

use crate::common::backends;
use pidwait::PidHandle;

/// No process has this PID, because Linux PIDs are at most 2^22.
const UNUSED_PID: u32 = i32::MAX as u32;

/// Opening needs no permission, even for PID 1.
#[test]
fn open_existing_process_succeeds() {
    for backend in backends() {
        for pid in [1, process::id()] {
            let handle = PidHandle::open_with(pid, backend).unwrap();
            assert_eq!(handle.id(), pid);
            assert_eq!(handle.backend(), backend);
            assert_eq!(handle.exit_status(), None);
        }
    }
}

#[test]
fn open_uses_the_supported_backend() {
    let supported = pidwait::support().unwrap().backend();
    assert_eq!(PidHandle::open(1).unwrap().backend(), supported);
    assert_eq!(PidHandle::open(UNUSED_PID).unwrap().backend(), supported);
}

/// The PID must not reach `kill` or `waitid`, where 0 and negative numbers mean a process group or
/// all processes. The error names it.
#[test]
fn open_invalid_pid_fails_with_invalid_input() {
    for backend in backends() {
        for pid in [0, 1 << 31, u32::MAX - 1, u32::MAX] {
            for opened in [PidHandle::open(pid), PidHandle::open_with(pid, backend)] {
                let error = opened.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert_eq!(error.raw_os_error(), None);
                assert!(error.to_string().contains(&pid.to_string()), "{error}");
            }
        }
    }
}
