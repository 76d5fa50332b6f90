//! `async_io::AsyncPidHandle` on async-io's reactor.
#![cfg(feature = "async-io")]

mod common;
#[path = "common/reactor.rs"]
mod reactor;

use std::future::Future;
use std::time::Duration;

use async_io::Timer;
use pidwait::async_io::AsyncPidHandle;

use reactor::{async_handle, test_on, Reactor};

async_handle!(AsyncPidHandle);

struct AsyncIo;

impl Reactor for AsyncIo {
    type Handle = AsyncPidHandle;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }
    async fn sleep(time: Duration) {
        Timer::after(time).await;
    }
}

test_on!(AsyncIo);
