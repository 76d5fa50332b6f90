// Tests: below, tests/it/capture/limits.rs

//! What is kept of a stream: its first bytes, and its last ones.

use std::io;

use nix::errno::Errno;

use super::stream::CHUNK;

/// If less capacity is spare, the buffer grows. Small enough that a small output and its end are read
/// into the first allocation.
const LEAST_SPARE: usize = 8 * 1024;

/// One buffer: the first bytes and, behind them, the last ones as a ring. The ring begins once the first
/// bytes are complete, and wraps around once the buffer is full.
#[derive(Debug)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    most_first: usize,
    most_last: usize,
    /// Where the oldest byte of the ring is, counted from its beginning.
    oldest: usize,
    discarded: u64,
    /// Nothing is to be kept, so nothing is missing either.
    is_off: bool,
}

impl Kept {
    pub(super) fn new(most_first: usize, most_last: usize) -> Self {
        Self {
            bytes: Vec::new(),
            most_first,
            most_last,
            oldest: 0,
            discarded: 0,
            is_off: false,
        }
    }

    /// Keeps and counts nothing.
    pub(super) fn off() -> Self {
        Self {
            is_off: true,
            ..Self::new(0, 0)
        }
    }

    /// The buffer to read first bytes into, and how many. `None`: those are complete.
    pub(super) fn spare(&mut self) -> io::Result<Option<(&mut Vec<u8>, usize)>> {
        let most = self.most_first.saturating_sub(self.bytes.len());
        if most == 0 {
            return Ok(None);
        }
        if self.bytes.capacity() - self.bytes.len() < LEAST_SPARE.min(most) {
            self.reserve(CHUNK.min(most))?;
        }
        Ok(Some((&mut self.bytes, most)))
    }

    /// Adds bytes that were read elsewhere. ENOMEM: there is no memory for them.
    pub(super) fn push(&mut self, new: &[u8]) -> io::Result<()> {
        if self.is_off {
            return Ok(());
        }
        let room = self.most_first.saturating_sub(self.bytes.len());
        let (first, rest) = new.split_at(room.min(new.len()));
        self.append(first)?;
        // Only the last of them can stay.
        let (skipped, last) = rest.split_at(rest.len().saturating_sub(self.most_last));
        let room = self.limit() - self.bytes.len();
        let (appended, over) = last.split_at(room.min(last.len()));
        self.append(appended)?;
        self.overwrite(over);
        self.discarded += (skipped.len() + over.len()) as u64;
        Ok(())
    }

    /// The first bytes, and the last ones so far.
    pub(super) fn so_far(&mut self) -> &[u8] {
        if let Some(ring) = self.bytes.get_mut(self.most_first..) {
            ring.rotate_left(self.oldest);
            self.oldest = 0;
        }
        &self.bytes
    }

    /// Takes the bytes out, without much unused capacity, and how many of them are first ones.
    pub(super) fn take(&mut self) -> (Vec<u8>, usize) {
        self.so_far();
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() / 2 > bytes.len() {
            bytes.shrink_to_fit();
        }
        let first = self.most_first.min(bytes.len());
        (bytes, first)
    }

    /// How many bytes are missing between the first and the last.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    fn append(&mut self, new: &[u8]) -> io::Result<()> {
        if self.bytes.capacity() - self.bytes.len() < new.len() {
            self.reserve(new.len())?;
        }
        self.bytes.extend_from_slice(new);
        Ok(())
    }

    /// Replaces the oldest bytes of a ring that is full. There are at most as many new ones.
    fn overwrite(&mut self, new: &[u8]) {
        let oldest = self.oldest;
        let Some(ring) = self.bytes.get_mut(self.most_first..) else {
            return;
        };
        let (before, behind) = ring.split_at_mut(oldest.min(ring.len()));
        let (end, beginning) = new.split_at(behind.len().min(new.len()));
        for (to, from) in [(behind, end), (before, beginning)] {
            if let Some(to) = to.get_mut(..from.len()) {
                to.copy_from_slice(from);
            }
        }
        if self.most_last > 0 {
            self.oldest = (oldest + new.len()) % self.most_last;
        }
    }

    /// Grows as a `Vec` does, but not beyond what can be needed.
    fn reserve(&mut self, more: usize) -> io::Result<()> {
        let length = self.bytes.len();
        let wanted = (length + more).max(self.bytes.capacity().saturating_mul(2));
        let wanted = wanted.min(self.limit()).max(length + more);
        let reserved = self.bytes.try_reserve_exact(wanted - length);
        Ok(reserved.map_err(|_| Errno::ENOMEM)?)
    }

    fn limit(&self) -> usize {
        self.most_first.saturating_add(self.most_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(number: usize) -> u8 {
        u8::try_from(number % 251).unwrap()
    }

    /// Pushes 0, 1, 2... in pieces of those lengths, and returns what is kept.
    fn kept(
        most: (usize, usize),
        pieces: &[usize],
        mut check: impl FnMut(&mut Kept, usize),
    ) -> Kept {
        let mut kept = Kept::new(most.0, most.1);
        let mut total = 0;
        for &length in pieces {
            let piece: Vec<u8> = (total..total + length).map(byte).collect();
            kept.push(&piece).unwrap();
            total += length;
            check(&mut kept, total);
        }
        kept
    }

    fn expected((first, last): (usize, usize), total: usize) -> Vec<u8> {
        let first = first.min(total);
        let last = last.min(total - first);
        let all = |range: std::ops::Range<usize>| range.map(byte);
        all(0..first).chain(all(total - last..total)).collect()
    }

    #[test]
    fn first_and_last_bytes_are_kept_in_order() {
        let pieces: [&[usize]; 6] = [
            &[],
            &[1; 30],
            &[3; 10],
            &[100],
            &[7, 1, 20, 2, 2, 2, 2, 40, 1, 1],
            &[4, 4, 0, 5, 11, 3],
        ];
        for most in [(0, 0), (0, 5), (5, 0), (4, 6), (6, 4), (1, 1), (50, 50)] {
            for pieces in pieces {
                let mut after = kept(most, pieces, |_, _| {});
                let total = pieces.iter().sum();
                let (bytes, first) = after.take();
                assert_eq!(bytes, expected(most, total), "{most:?} {pieces:?}");
                assert_eq!(first, most.0.min(total));
                let discarded = total - bytes.len();
                assert_eq!(after.discarded(), discarded as u64, "{most:?} {pieces:?}");
            }
        }
    }

    #[test]
    fn bytes_so_far_are_in_order_after_each_piece() {
        for most in [(0, 5), (4, 6), (2, 3)] {
            kept(most, &[1, 2, 3, 4, 5, 6, 1, 1, 1, 9], |kept, total| {
                assert_eq!(kept.so_far(), expected(most, total), "{most:?} {total}");
            });
        }
    }

    #[test]
    fn everything_is_kept_without_a_limit() {
        let mut all = kept((usize::MAX, 0), &[1000, 1, 500], |_, _| {});
        assert_eq!(all.take(), (expected((2000, 0), 1501), 1501));
        assert_eq!(all.discarded(), 0);
    }

    #[test]
    fn first_bytes_are_read_in_place_up_to_their_limit() {
        let mut kept = Kept::new(4, 2);
        for byte in 0..4 {
            let (bytes, most) = kept.spare().unwrap().unwrap();
            assert_eq!(most, usize::from(4 - byte));
            bytes.push(byte);
        }
        assert!(kept.spare().unwrap().is_none());
        kept.push(&[4, 5, 6]).unwrap();
        assert_eq!(kept.so_far(), [0, 1, 2, 3, 5, 6]);
    }

    #[test]
    fn memory_is_bounded_by_the_limits() {
        let kept = kept((1000, 3000), &[777; 100], |_, _| {});
        assert!(kept.bytes.capacity() <= 4000, "{}", kept.bytes.capacity());
    }

    #[test]
    fn what_does_not_fit_into_memory_fails_with_enomem() {
        let mut kept = Kept::new(usize::MAX, 0);
        kept.push(&[1]).unwrap();
        let failed = kept.reserve(usize::MAX / 2).unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(Errno::ENOMEM as i32));
        assert_eq!(kept.so_far(), [1]);
    }
}
