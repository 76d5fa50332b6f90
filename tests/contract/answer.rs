//! Answers as short strings.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use pidwait::{Captured, ResourceUsage};

/// For a case that cannot be made on this system; whoever says so has called `skip`.
pub(crate) const NOT_HERE: &str = "not here";

/// What a call came to, in the words of the table.
pub(crate) trait Said {
    fn said(self) -> String;
}

impl Said for ExitStatus {
    fn said(self) -> String {
        match (self.code(), self.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (_, Some(signal)) => format!("signal {signal}"),
            _ => format!("{self:?}"),
        }
    }
}

impl Said for (ExitStatus, ResourceUsage) {
    fn said(self) -> String {
        let (status, usage) = self;
        assert!(usage.max_rss > 4096, "{usage:?}");
        format!("{}, usage", status.said())
    }
}

impl Said for Captured {
    fn said(self) -> String {
        let (word, stdout) = match self {
            Captured::Exited(output) => (output.status.said(), output.stdout),
            Captured::TimedOut(mut late) => {
                let there = late.child.try_wait().expect("the child is ours");
                assert_eq!(there, None, "handed back, and exited");
                ("TimedOut".to_owned(), late.stdout)
            }
        };
        format!("{word}, {:?}", String::from_utf8_lossy(&stdout))
    }
}

impl Said for bool {
    fn said(self) -> String {
        self.to_string()
    }
}

impl Said for () {
    fn said(self) -> String {
        String::new()
    }
}

impl<T: Said> Said for Option<T> {
    fn said(self) -> String {
        self.map_or("None".to_owned(), |some| format!("Some({})", some.said()))
    }
}

impl<T: Said> Said for io::Result<T> {
    fn said(self) -> String {
        match self.map(Said::said) {
            Ok(nothing) if nothing.is_empty() => "Ok".to_owned(),
            Ok(something) => format!("Ok({something})"),
            Err(error) => match error.raw_os_error() {
                Some(errno) => format!("{:?}", Errno::from_raw(errno)),
                None => format!("{:?}", error.kind()),
            },
        }
    }
}
