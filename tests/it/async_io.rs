//! `AsyncIoPidHandle`, on async-io's reactor.

use std::future::Future;
use std::time::Duration;

use async_io::Timer;
use pidwait::AsyncIoPidHandle;

use crate::reactor::{assert_send, async_handle, test_on, Reactor};

async_handle!(AsyncIoPidHandle);

struct AsyncIo;

impl Reactor for AsyncIo {
    type Handle = AsyncIoPidHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }
    async fn sleep(time: Duration) {
        Timer::after(time).await;
    }
    assert_send!(AsyncIoPidHandle);
}

test_on!(AsyncIo);

#[cfg(target_os = "linux")]
#[test]
fn waits_after_pid_reuse_end_at_once() {
    crate::reactor::waits_after_pid_reuse_end_at_once::<AsyncIo>(
        "async_io::waits_after_pid_reuse_end_at_once",
    );
}
