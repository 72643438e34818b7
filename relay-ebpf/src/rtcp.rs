//! Takes identity out of RTCP: every text that could name a party is
//! overwritten where it stands, so that lengths, sources and reports stay.
//!
//! A compound packet (RFC 3550 section 6.1) is walked word by word, in any
//! order and number of packets. What is known to be measurement or feedback
//! stays; everything else is overwritten, whatever it is:
//!
//! | packet | stays | is overwritten |
//! |---|---|---|
//! | SR, RR | source, sender information, report blocks | profile-specific extensions |
//! | SDES | sources, item types and lengths | every item's text |
//! | BYE | sources, length of the reason | the reason's text |
//! | APP | source | name and data |
//! | RTPFB, PSFB | feedback that RFC 4585 and RFC 5104 define, and transport-wide congestion control | any other feedback |
//! | XR | blocks that RFC 3611 defines | other blocks, their type included |
//! | others | source | the rest |
//!
//! Texts become hyphens and all else zeros, padding included. Feedback that
//! carries a codec's or an application's own bits (RPSI, AFB) counts as other.
//!
//! The walk is strict: lengths that do not add up, an item or a chunk that its
//! packet ends within, and padding before the last packet make a compound
//! malformed, and a compound longer than [`MAX_BYTES`] is not walked. Neither
//! may be forwarded. The program and the sockets walk alike, since both walk
//! here.

use crate::verdict::Verdict;
use crate::words::{self, WORD, Word};

/// The longest compound that is walked: what fits an Ethernet frame. It bounds
/// what one packet can cost.
pub const MAX_BYTES: u16 = 1_500 - 20 - 8;

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const APP: u8 = 204;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const XR: u8 = 207;

/// The item of SDES that begins with a length of its own (RFC 3550 section 6.5.8).
const PRIV: u8 = 8;
/// The last block type of RFC 3611.
const LAST_BLOCK: u8 = 7;
/// The block type that is reserved for extensions, which no receiver knows
/// (RFC 3611 section 6.2).
const NO_BLOCK: u8 = 255;
const TEXT: u8 = b'-';

/// Overwrites what could name a party in a compound; after a failure it may be
/// half done.
pub fn scrub(compound: &mut [u8]) -> Result<(), Verdict> {
    let length = u16::try_from(compound.len()).unwrap_or(u16::MAX);
    let walk = Walk::over(length, || compound.last_chunk().copied().ok_or(Verdict::Truncated))?;
    words::walk(compound, walk)
}

/// What the next words of a packet's content are, once the run before them is over.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing that is known.
    Blank,
    /// The source that a chunk of SDES begins with.
    Chunk,
    /// The items of a chunk; the next byte is an item's type.
    ItemType,
    /// The next byte is an item's length.
    ItemLength,
    /// The next byte belongs to an item's text.
    ItemText,
    /// The reason of BYE, from its length on.
    Reason,
    /// The text of the reason.
    ReasonText,
    /// The header of a block of XR.
    Block,
}

/// A walk between two words.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Words of the compound that are still to come.
    left: u16,
    /// Words of this packet's content that are still to come.
    content: u16,
    /// Words of padding after them.
    padding_left: u16,
    /// The last byte of the compound: how much padding there is, if any.
    padding: u8,
    /// Words before `then`, and whether they stay.
    run: u16,
    stays: bool,
    then: Then,
    /// Chunks of SDES after this one.
    chunks: u8,
    /// Bytes of text still to come, and what the next one becomes.
    text: u8,
    filler: u8,
}

impl Walk {
    /// Before the first word of a compound of `length` bytes that ends with `last`.
    #[inline(always)]
    pub fn over(length: u16, last: impl FnOnce() -> Result<Word, Verdict>) -> Result<Self, Verdict> {
        if length > MAX_BYTES {
            return Err(Verdict::RtcpTooLong);
        }
        if length == 0 || !length.is_multiple_of(WORD) {
            return Err(Verdict::RtcpMalformed);
        }
        let [_, _, _, padding] = last()?;
        Ok(Self {
            left: length / WORD,
            content: 0,
            padding_left: 0,
            padding,
            run: 0,
            stays: true,
            then: Then::Blank,
            chunks: 0,
            text: 0,
            filler: TEXT,
        })
    }

    /// The header of the next packet.
    #[inline(always)]
    fn header(&mut self, word: Word) -> Result<Word, Verdict> {
        let after = self.left;
        let [first, kind, high, low] = word;
        let length = u16::from_be_bytes([high, low]);
        if first >> 6 != 2 || length > after {
            return Err(Verdict::RtcpMalformed);
        }
        let mut padding = 0;
        if first & 0x20 != 0 {
            padding = u16::from(self.padding) / WORD;
            let whole = self.padding != 0 && self.padding.is_multiple_of(4);
            // Only the last packet may be padded (RFC 3550 section 6.4.1).
            if length != after || !whole || padding > length {
                return Err(Verdict::RtcpMalformed);
            }
        }
        self.padding_left = padding;
        self.content = length - padding;
        self.begin(kind, first & 0x1f);
        if self.content == 0 && !self.is_complete() { Err(Verdict::RtcpMalformed) } else { Ok(word) }
    }

    /// What a packet of this kind and count begins with.
    #[inline(always)]
    fn begin(&mut self, kind: u8, count: u8) {
        const SOURCE: u16 = 1;
        const SENDER: u16 = 5;
        const REPORT: u16 = 6;
        self.stays = true;
        self.chunks = count;
        let counted = u16::from(count);
        (self.run, self.then) = match (kind, count) {
            (SR, _) => (SOURCE + SENDER + REPORT * counted, Then::Blank),
            (RR, _) => (SOURCE + REPORT * counted, Then::Blank),
            (SDES, 0) => (0, Then::Blank),
            (SDES, _) => (0, Then::Chunk),
            (BYE, _) => (counted, Then::Reason),
            (XR, _) => (SOURCE, Then::Block),
            // Generic NACK, TMMBR and TMMBN, SR request, transport-wide
            // congestion control; PLI, SLI, FIR, TSTR, TSTN.
            (RTPFB, 1 | 3 | 4 | 5 | 15) | (PSFB, 1 | 2 | 4 | 5 | 6) => (self.content, Then::Blank),
            (RTPFB | PSFB, _) => (SOURCE + SOURCE, Then::Blank),
            (APP, _) => (SOURCE, Then::Blank),
            // Old ones may be a header alone (RFC 2032 section 5.2).
            _ => (self.content.min(SOURCE), Then::Blank),
        };
    }

    /// A word of content.
    #[inline(always)]
    fn inner(&mut self, word: Word) -> Word {
        if self.run > 0 {
            self.run -= 1;
            return if self.stays { word } else { [0; 4] };
        }
        match self.then {
            Then::Blank => [0; 4],
            Then::Chunk => {
                self.chunks = self.chunks.wrapping_sub(1);
                self.then = Then::ItemType;
                word
            }
            Then::ItemType | Then::ItemLength | Then::ItemText => self.items(word),
            Then::Reason | Then::ReasonText => self.reason(word),
            Then::Block => self.block(word),
        }
    }

    /// Four bytes of the items of a chunk.
    #[inline(always)]
    fn items(&mut self, word: Word) -> Word {
        let [a, b, c, d] = word;
        [self.item_byte(a), self.item_byte(b), self.item_byte(c), self.item_byte(d)]
    }

    #[inline(always)]
    fn item_byte(&mut self, byte: u8) -> u8 {
        match self.then {
            Then::ItemType if byte != 0 => {
                // The prefix of a private item gets the length zero, and is text then.
                self.filler = if byte == PRIV { 0 } else { TEXT };
                self.then = Then::ItemLength;
                byte
            }
            Then::ItemLength => {
                self.text = byte;
                self.then = if byte == 0 { Then::ItemType } else { Then::ItemText };
                byte
            }
            Then::ItemText => {
                let byte = self.filler;
                self.filler = TEXT;
                self.text = self.text.wrapping_sub(1);
                if self.text == 0 {
                    self.then = Then::ItemType;
                }
                byte
            }
            // The list ends here or in this word, which zeros fill.
            Then::ItemType | Then::Blank | Then::Chunk | Then::Reason | Then::ReasonText | Then::Block => {
                self.then = if self.chunks == 0 { Then::Blank } else { Then::Chunk };
                0
            }
        }
    }

    /// Four bytes of the reason of BYE.
    #[inline(always)]
    fn reason(&mut self, word: Word) -> Word {
        let [mut first, ..] = word;
        if matches!(self.then, Then::Reason) {
            self.text = first;
            self.then = Then::ReasonText;
        } else {
            first = self.reason_byte();
        }
        [first, self.reason_byte(), self.reason_byte(), self.reason_byte()]
    }

    #[inline(always)]
    fn reason_byte(&mut self) -> u8 {
        if self.text == 0 {
            return 0;
        }
        self.text -= 1;
        TEXT
    }

    /// The header of a block of XR.
    #[inline(always)]
    fn block(&mut self, word: Word) -> Word {
        let [kind, _, high, low] = word;
        self.run = u16::from_be_bytes([high, low]);
        self.stays = matches!(kind, 1..=LAST_BLOCK);
        if self.stays { word } else { [NO_BLOCK, 0, high, low] }
    }

    /// Whether a packet may end here.
    #[inline(always)]
    fn is_complete(&self) -> bool {
        self.run == 0
            && match self.then {
                Then::Blank | Then::Block | Then::Reason => true,
                Then::ReasonText => self.text == 0,
                Then::Chunk | Then::ItemType | Then::ItemLength | Then::ItemText => false,
            }
    }
}

impl words::Walk for Walk {
    #[inline(always)]
    fn step(&mut self, word: Word) -> Result<Word, Verdict> {
        self.left = self.left.wrapping_sub(1);
        if self.content == 0 {
            if self.padding_left == 0 {
                return self.header(word);
            }
            self.padding_left -= 1;
            return Ok(if self.padding_left == 0 { [0, 0, 0, self.padding] } else { [0; 4] });
        }
        self.content -= 1;
        let word = self.inner(word);
        if self.content == 0 && !self.is_complete() { Err(Verdict::RtcpMalformed) } else { Ok(word) }
    }

    #[inline(always)]
    fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests;
