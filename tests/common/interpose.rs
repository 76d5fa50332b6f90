//! For test binaries that replace functions of libc: how they call the real ones.

use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

use nix::libc::{self, c_long, c_void};

/// A function of libc that the binary replaces.
pub(crate) struct Real {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Real {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: AtomicPtr::new(null_mut()),
        }
    }

    pub(crate) fn get(&self) -> *mut c_void {
        let mut address = self.address.load(SeqCst);
        if address.is_null() {
            // SAFETY: the name is a C string.
            address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            assert!(!address.is_null(), "{:?}", self.name);
            self.address.store(address, SeqCst);
        }
        address
    }
}

/// Calls libc's `syscall`. No system call reads more than six arguments, and those that it does not read do
/// no harm.
///
/// # Safety
///
/// As of libc's.
pub(crate) unsafe fn real_syscall(number: c_long, args: [c_long; 6]) -> c_long {
    static REAL: Real = Real::new(c"syscall");
    type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
    // SAFETY: that is libc's function, which has this type.
    let real: Syscall = unsafe { std::mem::transmute(REAL.get()) };
    let [a, b, c, d, e, f] = args;
    // SAFETY: as the caller promises.
    unsafe { real(number, a, b, c, d, e, f) }
}
