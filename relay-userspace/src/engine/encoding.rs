//! The names of codecs, as records and views show them.
//!
//! A peer writes the name into its session description as free text, so what
//! is kept of it comes from a closed set: a record can then never hold a word
//! that somebody smuggled in as a codec.

use serde::{Deserialize, Deserializer, Serialize};

use super::quality::Codec;

/// The encoding names (RFC 3551, the IANA registry) that are known here.
const KNOWN: [&str; 36] = [
    "PCMU",
    "PCMA",
    "G722",
    "G723",
    "G726-16",
    "G726-24",
    "G726-32",
    "G726-40",
    "G728",
    "G729",
    "GSM",
    "GSM-EFR",
    "iLBC",
    "speex",
    "opus",
    "AMR",
    "AMR-WB",
    "EVS",
    "L16",
    "DVI4",
    "LPC",
    "QCELP",
    "MPA",
    "CN",
    "telephone-event",
    "red",
    "H261",
    "H263",
    "H263-1998",
    "H264",
    "H265",
    "VP8",
    "VP9",
    "AV1",
    "t38",
    "other",
];

/// The name of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Encoding(&'static str);

impl Encoding {
    /// Fax over IP (ITU-T T.38), which is no RTP encoding but is shown as one.
    pub const T38: Self = Self("t38");
    /// None of the known names.
    pub const OTHER: Self = Self("other");

    /// By the name in an `rtpmap`, in any case.
    #[must_use]
    pub fn named(name: &str) -> Self {
        KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(name)).map_or(Self::OTHER, Self)
    }

    /// The encoding of a payload type that needs no `rtpmap`, and the ticks per
    /// second of its timestamps (RFC 3551 tables 4 and 5).
    #[must_use]
    pub const fn of_static(payload_type: u8) -> Option<(Self, u32)> {
        let (name, clock) = match payload_type {
            0 => ("PCMU", 8000),
            3 => ("GSM", 8000),
            4 => ("G723", 8000),
            5 => ("DVI4", 8000),
            6 => ("DVI4", 16_000),
            7 => ("LPC", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            10 | 11 => ("L16", 44_100),
            12 => ("QCELP", 8000),
            13 => ("CN", 8000),
            14 => ("MPA", 90_000),
            15 => ("G728", 8000),
            16 => ("DVI4", 11_025),
            17 => ("DVI4", 22_050),
            18 => ("G729", 8000),
            31 => ("H261", 90_000),
            34 => ("H263", 90_000),
            25 | 26 | 28 | 32 | 33 => ("other", 90_000),
            _ => return None,
        };
        Some((Self(name), clock))
    }

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it carries speech or picture itself, not tones, silence or
    /// redundancy beside another one.
    #[must_use]
    pub fn is_primary(self) -> bool {
        !matches!(self.0, "CN" | "telephone-event" | "red")
    }

    /// What the E-model knows of it.
    #[must_use]
    pub fn codec(self) -> Codec {
        Codec::from_encoding(self.0)
    }
}

impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::named(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_no_other_is_kept() {
        for name in KNOWN {
            assert_eq!(Encoding::named(&name.to_ascii_uppercase()).as_str(), name);
        }
        assert_eq!(Encoding::named("alice"), Encoding::OTHER);
    }

    #[test]
    fn static_payload_types_have_the_clock_of_rfc_3551() {
        assert_eq!(Encoding::of_static(0), Some((Encoding::named("PCMU"), 8000)));
        assert_eq!(Encoding::of_static(9), Some((Encoding::named("G722"), 8000)), "not its sampling rate");
        assert_eq!(Encoding::of_static(96), None);
        let named = (0..96).filter_map(Encoding::of_static).filter(|(name, _)| *name != Encoding::OTHER);
        assert!(named.clone().all(|(name, _)| Encoding::named(name.as_str()) == name) && named.count() == 19);
    }
}
