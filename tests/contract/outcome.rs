//! What a call returned, as a short string for the table.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use pidwait::{Captured, ResourceUsage};

/// The outcome of a row that cannot run on this system. The row has called `common::skip` where
/// that is not expected.
pub(crate) const SKIPPED: &str = "skipped";

/// A returned value in the notation of the table.
pub(crate) trait Describe {
    fn describe(self) -> String;
}

impl Describe for ExitStatus {
    fn describe(self) -> String {
        match (self.code(), self.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => format!("{self:?}"),
        }
    }
}

impl Describe for (ExitStatus, ResourceUsage) {
    fn describe(self) -> String {
        let (status, usage) = self;
        assert!(usage.max_rss > 4096, "{usage:?}");
        format!("{}, usage", status.describe())
    }
}

impl Describe for Captured {
    fn describe(self) -> String {
        let (word, stdout) = match self {
            Captured::Exited(output) => (output.status.describe(), output.stdout),
            Captured::TimedOut(mut late) => {
                let status = late.child.try_wait().expect("the child is ours");
                assert_eq!(status, None, "handed back, but it has exited");
                ("TimedOut".to_owned(), late.stdout)
            }
        };
        format!("{word}, {:?}", String::from_utf8_lossy(&stdout))
    }
}

impl Describe for bool {
    fn describe(self) -> String {
        self.to_string()
    }
}

impl Describe for () {
    fn describe(self) -> String {
        String::new()
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(self) -> String {
        self.map_or("None".to_owned(), |some| {
            format!("Some({})", some.describe())
        })
    }
}

impl<T: Describe> Describe for io::Result<T> {
    fn describe(self) -> String {
        match self.map(Describe::describe) {
            Ok(empty) if empty.is_empty() => "Ok".to_owned(),
            Ok(value) => format!("Ok({value})"),
            Err(error) => match error.raw_os_error() {
                Some(errno) => format!("{:?}", Errno::from_raw(errno)),
                None => format!("{:?}", error.kind()),
            },
        }
    }
}
