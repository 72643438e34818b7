//! Packets as words of four bytes, which RTP and RTCP are made of: what is
//! changed in them is changed one word at a time, by the same steps in a frame and
//! in a buffer.

use crate::verdict::Verdict;

/// A word as it stands in a packet.
pub type Word = [u8; 4];

/// The bytes of a word.
pub const WORD: u16 = 4;

/// A walk over the words of a packet, each of which it may change.
pub trait Walk: Copy {
    /// What becomes of the next word.
    fn step(&mut self, word: Word) -> Result<Word, Verdict>;

    /// Whether the words after this one are none of its business.
    fn is_over(&self) -> bool;
}

/// Takes a walk over a buffer to its end; after a failure it may be half done.
pub fn walk<W: Walk>(packet: &mut [u8], mut walk: W) -> Result<(), Verdict> {
    let (words, _) = packet.as_chunks_mut();
    for word in words {
        if walk.is_over() {
            break;
        }
        *word = walk.step(*word)?;
    }
    Ok(())
}
