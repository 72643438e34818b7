//! Takes header extensions out of RTP (RFC 3550 section 5.3.1) without moving
//! anything: they carry what far ends agreed on beside the medium (names of
//! streams, loudness, texts), and only what signalling let them agree on crosses.
//!
//! Elements of the one-byte form (RFC 8285 section 4.2) whose id is allowed stay.
//! All else becomes that form's padding, which a receiver skips: other elements,
//! whatever their id claims to be, what follows the id that ends the list, and the
//! whole content of any other form, whose profile becomes that of the one-byte form.
//! The length stays, so who reads it learns how much there was, and no more.

use crate::media::RTP_MIN;
use crate::verdict::Verdict;
use crate::words::{self, WORD, Word};

/// The profile of the one-byte form.
const ONE_BYTE: [u8; 2] = [0xbe, 0xde];
/// The id at which a receiver stops reading.
const END: u8 = 15;

/// Blanks the extension of an RTP packet that has one, but for the elements with
/// these ids: a bit each, the lowest for id 0, which is padding's.
pub fn blank(packet: &mut [u8], allowed: u16) -> Result<(), Verdict> {
    let first = packet.first().copied().ok_or(Verdict::Truncated)?;
    let extension = packet.get_mut(usize::from(start(first))..).ok_or(Verdict::Truncated)?;
    words::walk(extension, Walk::allowing(allowed))
}

/// Whether a packet with this first byte has a header extension.
#[inline(always)]
#[must_use]
pub const fn is_announced(first: u8) -> bool {
    first & 0x10 != 0
}

/// Where the extension of a packet with this first byte begins.
#[inline(always)]
#[must_use]
pub const fn start(first: u8) -> u16 {
    RTP_MIN + WORD * (first & 0x0f) as u16
}

/// A walk between two words of an extension.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    allowed: u16,
    /// Words still to come, once the header has told.
    left: u16,
    is_begun: bool,
    /// Whether elements can be read at all.
    has_elements: bool,
    /// Bytes of the element at hand that are still to come, and whether they stay.
    data: u8,
    stays: bool,
}

impl Walk {
    /// Before the extension's header.
    #[inline(always)]
    #[must_use]
    pub const fn allowing(allowed: u16) -> Self {
        Self { allowed, left: 0, is_begun: false, has_elements: false, data: 0, stays: false }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) -> u8 {
        if self.data > 0 {
            self.data -= 1;
        } else {
            let id = byte >> 4;
            self.has_elements &= id != END;
            self.stays = self.has_elements && id != 0 && self.allowed >> id & 1 != 0;
            // The byte of padding has no data, whatever its length says.
            self.data = if id == 0 { 0 } else { (byte & 0x0f) + 1 };
        }
        if self.stays { byte } else { 0 }
    }
}

impl words::Walk for Walk {
    #[inline(always)]
    fn step(&mut self, word: Word) -> Result<Word, Verdict> {
        let [a, b, c, d] = word;
        if self.is_begun {
            self.left = self.left.wrapping_sub(1);
            return Ok([self.byte(a), self.byte(b), self.byte(c), self.byte(d)]);
        }
        self.is_begun = true;
        self.has_elements = [a, b] == ONE_BYTE;
        self.left = u16::from_be_bytes([c, d]);
        Ok([ONE_BYTE[0], ONE_BYTE[1], c, d])
    }

    #[inline(always)]
    fn is_over(&self) -> bool {
        self.is_begun && self.left == 0
    }
}

#[cfg(test)]
mod tests;
