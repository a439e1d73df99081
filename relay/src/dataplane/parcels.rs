//! Relayed messages on their way to a stream that another worker owns: one flat queue, bounded in bytes. Pure.

use super::mailbox::Refused;

/// What waits for one worker, in bytes.
pub(super) const PARCELS_BYTES: usize = 1 << 20;
/// The connection's number and the message's length.
const LABEL: usize = 4 + 2;

#[derive(Default)]
pub(super) struct Parcels {
    bytes: Vec<u8>,
}

impl Parcels {
    /// Answers whether this is the first one.
    pub(super) fn push(&mut self, number: u32, message: &[u8]) -> Result<bool, Refused> {
        let length = u16::try_from(message.len()).map_err(|_| Refused)?;
        if self.bytes.len() + LABEL + message.len() > PARCELS_BYTES {
            return Err(Refused);
        }
        let first = self.bytes.is_empty();
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(message);
        Ok(first)
    }

    /// In the order they came: the connection's number, the message.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (&[n0, n1, n2, n3, l0, l1], behind) = rest.split_first_chunk::<LABEL>()?;
            let (message, others) = behind.split_at_checked(usize::from(u16::from_ne_bytes([l0, l1])))?;
            rest = others;
            Some((u32::from_ne_bytes([n0, n1, n2, n3]), message))
        })
    }

    /// Keeps the memory for the next ones, and nothing that was in it.
    pub(super) fn clear(&mut self) {
        self.bytes.fill(0);
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parcels_arrive_in_order_with_their_labels() {
        let mut parcels = Parcels::default();
        let sent = [(7, &b"one"[..]), (u32::MAX, b""), (0, b"three")];
        let first: Vec<bool> = sent.iter().map(|(number, message)| parcels.push(*number, message).unwrap()).collect();
        assert_eq!(first, [true, false, false]);
        assert_eq!(parcels.iter().collect::<Vec<_>>(), sent);
        parcels.clear();
        assert_eq!(parcels.iter().count(), 0);
        assert_eq!(parcels.push(1, b"again"), Ok(true));
    }

    #[test]
    fn the_queue_is_bounded_and_refuses_the_newest() {
        let mut parcels = Parcels::default();
        let fitting = std::iter::repeat_with(|| parcels.push(1, &[0; 1000])).take_while(Result::is_ok).count();
        assert_eq!(fitting, PARCELS_BYTES / (1000 + LABEL));
        assert_eq!(parcels.push(1, &[0; 70_000]), Err(Refused), "longer than any message");
    }
}
