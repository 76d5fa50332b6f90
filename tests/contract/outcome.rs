//! What a call returned, as a short string for the table.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use pidwait::{CaptureError, Captured, ResourceUsage};

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
            (Some(code), _) => {
                assert_eq!(self.into_raw(), code << 8, "other bits are set");
                format!("exit {code}")
            }
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
        let mut text = match self.status {
            Some(status) => status.describe(),
            None => "None".to_owned(),
        };
        if let Some(why) = self.stopped_by {
            text = format!("{text}, {why:?}");
        }
        if self.leaked {
            text += ", leaked";
        }
        if self.stdout_discarded > 0 {
            text = format!("{text}, {} discarded", self.stdout_discarded);
        }
        format!("{text}, {:?}", String::from_utf8_lossy(&self.stdout))
    }
}

impl Describe for Result<Captured, CaptureError> {
    fn describe(self) -> String {
        match self {
            Err(failed) if !failed.stdout.is_empty() => {
                let stdout = String::from_utf8_lossy(&failed.stdout).into_owned();
                format!(
                    "{}, {stdout:?}",
                    io::Result::<()>::Err(failed.error).describe()
                )
            }
            result => result.map_err(io::Error::from).describe(),
        }
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
