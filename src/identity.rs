// Tests: below, tests/it/identity.rs, tests/contract/identity.rs, tests/random/handle.rs

//! The identity of a process, in a form that outlives this program.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;

use nix::errno::Errno;
use nix::libc::pid_t;

use crate::errno::{errno_of, is_denied, is_echild};
use crate::handle::{check_pid, default_backend, PidHandle};
use crate::support::unsupported;
use crate::sys;

/// Identifies one process across programs and restarts: what to store in a pidfile instead of a PID.
///
/// Returned by [`PidHandle::identity`]; [`PidHandle::open_identity`] opens the process again. It
/// consists of the PID, the start time of the process and the ID of the boot. So a later process with
/// the same PID has another identity, and so has one after a reboot. Two identities are equal if they
/// belong to the same process.
///
/// It prints as one line without spaces, such as
/// `4711:830274:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11`, and parses back. Only the exact text that it
/// prints parses: `trim` what you read from a file. It is not a secret and grants no permission.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use pidwait::{Identity, PidHandle};
/// use std::process::Command;
///
/// let daemon = PidHandle::spawn(Command::new("sleep").arg("60"))?.handle;
/// let line = daemon.identity()?.to_string(); // To be written to a pidfile.
///
/// let identity: Identity = line.parse()?;
/// PidHandle::open_identity(&identity)?.kill()?;
/// assert!(!daemon.wait()?.success());
/// assert!(pidwait::is_echild(&PidHandle::open_identity(&identity)?.kill().unwrap_err()));
/// # Ok(())
/// # }
/// # #[cfg(not(target_os = "linux"))]
/// # fn main() {}
/// ```
///
/// # Platform notes
///
/// Linux only. An identity is valid within one PID namespace and one time namespace: in others the same
/// process has another PID or another start time. Start times are counted in clock ticks (10 ms). A process
/// that was restored from a checkpoint has another start time, so its old identity no longer opens it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pid: pid_t,
    /// Clock ticks from the boot to the start of the process.
    start_time: u64,
    boot: BootId,
}

/// A UUID.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BootId(u128);

impl Identity {
    /// Returns the PID. If the process has ended, the PID may belong to another process.
    ///
    /// # Examples
    ///
    /// ```
    /// let identity: pidwait::Identity = "4711:12:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11".parse()?;
    /// assert_eq!(identity.pid(), 4711);
    /// # Ok::<(), pidwait::ParseIdentityError>(())
    /// ```
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Reads the identity of the process that has the PID now.
    fn read(pid: pid_t) -> io::Result<Self> {
        if !sys::proc_is_own()? {
            let text = "cannot read the start time of the process: /proc is missing or belongs to \
                        another PID namespace";
            return Err(unsupported(text));
        }
        let start_time = match sys::proc_stat(pid) {
            Ok(stat) => stat.start_time,
            // The caller has seen the process, so the mount hides it. EPERM: with `hidepid=1`.
            Err(Errno::ESRCH | Errno::EPERM) => {
                return Err(unsupported("/proc hides this process (hidepid)"))
            }
            Err(errno) => return Err(errno.into()),
        };
        let boot = BootId::read()?;
        Ok(Self {
            pid,
            start_time,
            boot,
        })
    }
}

impl BootId {
    fn read() -> io::Result<Self> {
        match sys::boot_id() {
            Ok(text) => Self::parse(&text)
                .ok_or_else(|| unsupported("the boot ID of this system is not a UUID")),
            Err(Errno::ENOENT | Errno::ENOSYS) => Err(unsupported("this system has no boot ID")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// `None`: it is not a UUID as the kernel prints it, with lower-case digits and four hyphens.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.replace('-', "");
        let id = Self(u128::from_str_radix(&digits, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl PidHandle {
    /// Returns the identity of the process, child or not.
    ///
    /// [`open_identity`](Self::open_identity) opens the process again, in this program or another one.
    /// The process may be a zombie.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use pidwait::PidHandle;
    ///
    /// let own = PidHandle::open(std::process::id())?;
    /// assert_eq!(own.identity()?.pid(), std::process::id());
    /// # }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - ECHILD: the handle is done; or the process was reaped, by other code or by
    ///   [`Spawned::from`](crate::Spawned#impl-From%3CChild%3E-for-Spawned).
    /// - EINVAL: the handle is released.
    /// - EMFILE, ENFILE, ENOMEM: no descriptor or memory is available to read `/proc`.
    /// - [`Unsupported`](io::ErrorKind::Unsupported): `/proc` is missing, belongs to another PID
    ///   namespace or hides the process; or the system is not Linux.
    ///
    /// # Platform notes
    ///
    /// The start time is field 22 of `/proc/PID/stat` ([proc_pid_stat(5)]), the boot ID
    /// `/proc/sys/kernel/random/boot_id`.
    ///
    /// [proc_pid_stat(5)]: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    pub fn identity(&self) -> io::Result<Identity> {
        self.check_unreaped()?;
        let identity = Identity::read(check_pid(self.id())?);
        // After the read: the process is unreaped, so it had the PID during the read.
        self.with_process(|process, seen| match process.signal(seen, 0) {
            Err(errno) if is_denied(errno) => Ok(()),
            result => result,
        })?;
        identity
    }

    /// Opens the process that an identity belongs to, and no other one.
    ///
    /// If that process is gone, its PID was reused, or the machine was rebooted, the handle is *done*
    /// from the start: every wait and signal fails with ECHILD.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use pidwait::{Identity, PidHandle};
    ///
    /// // From the last boot.
    /// let stale: Identity = "1:12:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11".parse()?;
    /// let handle = PidHandle::open_identity(&stale)?;
    /// assert!(pidwait::is_echild(&handle.signal(15).unwrap_err()));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(target_os = "linux"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open) and of [`identity`](Self::identity), except ECHILD and EINVAL.
    ///
    /// # Platform notes
    ///
    /// With [`Backend::Waitpid`](crate::Backend::Waitpid) each later call for a non-child compares the
    /// start time again.
    pub fn open_identity(identity: &Identity) -> io::Result<Self> {
        let handle = match Self::open(identity.pid()) {
            // The number is the ID of a thread now, so that process is gone.
            Err(error) if errno_of(&error) == Some(Errno::EINVAL) => {
                return Ok(Self::done(identity.pid(), default_backend()));
            }
            opened => opened?,
        };
        let done = || Ok(Self::done(identity.pid(), handle.backend()));
        if BootId::read()? != identity.boot {
            return done();
        }
        // The identity of the process that was opened, even if the PID was reused since.
        match handle.identity() {
            Ok(opened) if opened == *identity => Ok(handle),
            Ok(_) => done(),
            Err(error) if is_echild(&error) => done(),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start_time, self.boot)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = self;
        let (first, second, third) = (id >> 96, id >> 80 & 0xffff, id >> 64 & 0xffff);
        let (fourth, fifth) = (id >> 48 & 0xffff, id & 0xffff_ffff_ffff);
        write!(
            f,
            "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{fifth:012x}"
        )
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Identity {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let wrong = |problem| ParseIdentityError { problem };
        let mut parts = text.splitn(3, ':');
        let mut next = |missing| parts.next().ok_or(ParseIdentityError { problem: missing });

        let pid = number(next("the PID is missing")?);
        let pid = pid
            .and_then(|pid| pid_t::try_from(pid).ok())
            .filter(|pid| *pid > 0);
        let pid = pid.ok_or(wrong("the PID is not a plain number from 1 to 2147483647"))?;
        let start_time = number(next("the start time is missing")?);
        let start_time = start_time.ok_or(wrong("the start time is not a plain 64-bit number"))?;
        let boot = BootId::parse(next("the boot ID is missing")?);
        let boot = boot.ok_or(wrong("the boot ID is not a lower-case UUID"))?;
        Ok(Self {
            pid,
            start_time,
            boot,
        })
    }
}

/// A decimal number as it prints: without a sign or leading zeros.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The error of parsing an [`Identity`]. It names the part that is wrong.
///
/// # Examples
///
/// ```
/// use pidwait::Identity;
///
/// let error = "023:12:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11".parse::<Identity>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "not a process identity: the PID is not a plain number from 1 to 2147483647"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdentityError {
    problem: &'static str,
}

impl fmt::Display for ParseIdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a process identity: {}", self.problem)
    }
}

impl Error for ParseIdentityError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OTHER_BOOT: &str = "0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11";

    fn parse(text: &str) -> Result<Identity, ParseIdentityError> {
        text.parse()
    }

    #[test]
    fn errors_name_the_bad_part() {
        const PID: &str = "the PID is not a plain number from 1 to 2147483647";
        const START: &str = "the start time is not a plain 64-bit number";
        const BOOT: &str = "the boot ID is not a lower-case UUID";
        let boot = OTHER_BOOT;
        let cases = [
            ("", PID),
            (":", PID),
            ("x", PID),
            ("0:1", PID),
            ("023", PID),
            ("-4", PID),
            ("+4", PID),
            (" 4", PID),
            ("4 ", PID),
            ("2147483648", PID),
            ("99999999999999999999999", PID),
            ("٣", PID),
            ("4", "the start time is missing"),
            ("4:", START),
            ("4:01", START),
            ("4:+1", START),
            ("4:0x1", START),
            ("4:18446744073709551616", START),
            ("4:1", "the boot ID is missing"),
            ("4:1:", BOOT),
            ("4:1:x", BOOT),
            ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a1", BOOT),
            ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a111", BOOT),
            ("4:1:0C7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11", BOOT),
            ("4:1:0c7a3a1c9c114d6c8a4e0d5a0f2c5a11", BOOT),
            ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11 ", BOOT),
            ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11\n", BOOT),
            ("4:1:0c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11:", BOOT),
            ("4:1:+c7a3a1c-9c11-4d6c-8a4e-0d5a0f2c5a11", BOOT),
        ];
        for (text, problem) in cases {
            let error = parse(text).expect_err(text);
            let expected = format!("not a process identity: {problem}");
            assert_eq!(error.to_string(), expected, "{text:?}");
        }
        let good = format!("{}:0:{boot}", i32::MAX);
        assert_eq!(parse(&good).unwrap().to_string(), good);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, // A failure is printed; no file is written.
            ..ProptestConfig::default()
        })]

        /// Parsing never panics, and what parses prints back the same.
        #[test]
        fn forged_texts(text in prop_oneof![".*", "[0-9a-f:+-]{0,64}", "[0-9]{1,11}:[0-9]{1,21}:[0-9a-fA-F-]{34,38}"]) {
            if let Ok(identity) = parse(&text) {
                prop_assert_eq!(identity.to_string(), text);
            }
        }

        #[test]
        fn all_identities_parse_back(pid in 1..=i32::MAX, start: u64, boot: u128) {
            let boot = format!("{boot:032x}");
            let text = format!(
                "{pid}:{start}:{}-{}-{}-{}-{}",
                &boot[..8], &boot[8..12], &boot[12..16], &boot[16..20], &boot[20..],
            );
            let identity = parse(&text).unwrap();
            prop_assert_eq!(identity.pid(), pid.unsigned_abs());
            prop_assert_eq!(identity.to_string(), text.clone());
            prop_assert!(!text.contains(char::is_whitespace));

            // Cut anywhere, it does not parse.
            for end in 0..text.len() {
                prop_assert!(parse(&text[..end]).is_err());
            }
        }

        /// One character of a good text is replaced.
        #[test]
        fn changed_texts(at in 0..50_usize, new: char) {
            let good = format!("1234567:89012:{OTHER_BOOT}");
            let changed: String = good.char_indices().map(|(i, c)| if i == at { new } else { c }).collect();
            if let Ok(identity) = parse(&changed) {
                prop_assert_eq!(identity == parse(&good).unwrap(), changed == good);
                prop_assert_eq!(identity.to_string(), changed);
            }
        }
    }
}
