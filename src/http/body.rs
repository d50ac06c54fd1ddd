//! The body of a request, read into memory within limits: those of each, and of all that are being read.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;

use hyper::body::{Body, Bytes};

use super::limits::{BODIES_BYTES, BODY_BYTES};

/// The bytes of all bodies that are being read.
#[derive(Debug, Default)]
pub(super) struct BodyBudget {
    held: Cell<usize>,
}

/// A body, which counts as long as it is there.
#[derive(Debug)]
pub(super) struct HeldBody<'a> {
    pub(super) bytes: Vec<u8>,
    budget: &'a BodyBudget,
}

/// Why a body cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    /// Others have all the room.
    NoRoom,
    /// The peer is gone, or sends something else.
    Incomplete,
}

impl HeldBody<'_> {
    fn append(&mut self, data: &[u8]) -> Result<(), BodyError> {
        if self.bytes.len() + data.len() > BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        let held = self.budget.held.get() + data.len();
        if held > BODIES_BYTES {
            return Err(BodyError::NoRoom);
        }
        self.budget.held.set(held);
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Drop for HeldBody<'_> {
    fn drop(&mut self) {
        self.budget.held.update(|held| held - self.bytes.len());
    }
}

/// Reads a body. The limits of time are the connection's.
pub(super) async fn read(
    mut body: impl Body<Data = Bytes> + Unpin,
    budget: &BodyBudget,
) -> Result<HeldBody<'_>, BodyError> {
    // Before anything of it is sent, for those who ask first.
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut held = HeldBody { bytes: Vec::new(), budget };
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| BodyError::Incomplete)?;
        if let Some(data) = frame.data_ref() {
            held.append(data)?;
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_bounded_alone_and_together() {
        let budget = BodyBudget::default();
        let body = || HeldBody { bytes: Vec::new(), budget: &budget };
        let large = vec![0; BODY_BYTES];
        let mut held = Vec::new();
        for _ in 0..BODIES_BYTES / BODY_BYTES {
            let mut body = body();
            assert_eq!((body.append(&large), body.append(b"x")), (Ok(()), Err(BodyError::TooLarge)));
            held.push(body);
        }
        assert_eq!(body().append(b"x"), Err(BodyError::NoRoom));
        held.pop();
        assert_eq!(body().append(b"x"), Ok(()));
        drop(held);
        assert_eq!(budget.held.get(), 0);
    }
}
