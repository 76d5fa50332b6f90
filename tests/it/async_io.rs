//! `AsyncIoPidHandle`, on async-io's reactor.

use std::future::Future;
use std::process::{ChildStdin, ChildStdout};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use pidwait::AsyncIo;

use crate::reactor::{test_on, Runtime};

struct Smol;

impl Runtime for Smol {
    type Reactor = AsyncIo;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        async_io::block_on(future)
    }
    async fn sleep(time: Duration) {
        Timer::after(time).await;
    }
    async fn read(pipe: &mut Async<ChildStdout>) -> String {
        let mut text = String::new();
        pipe.read_to_string(&mut text).await.unwrap();
        text
    }
    async fn write(pipe: &mut Async<ChildStdin>, text: &str) {
        pipe.write_all(text.as_bytes()).await.unwrap();
    }
}

test_on!(Smol);
