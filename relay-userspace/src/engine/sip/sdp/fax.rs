//! The attributes of fax over UDPTL (ITU-T T.38 annex D): numbers, switches and
//! words of closed sets. `T38VendorInfo` tells who made a device and ends here.

/// Digits of a number; a longer one could be somebody's.
const MAX_DIGITS: usize = 6;

/// What the value of an attribute is.
enum Value {
    /// Nothing, or `0` or `1`.
    Switch,
    /// One number.
    Number,
    /// One or two numbers.
    Numbers,
    /// One of these.
    Word(&'static [&'static str]),
}

const ATTRIBUTES: [(&str, Value); 13] = [
    ("T38FaxVersion", Value::Number),
    ("T38MaxBitRate", Value::Number),
    ("T38FaxFillBitRemoval", Value::Switch),
    ("T38FaxTranscodingMMR", Value::Switch),
    ("T38FaxTranscodingJBIG", Value::Switch),
    ("T38FaxRateManagement", Value::Word(&["localTCF", "transferredTCF"])),
    ("T38FaxMaxBuffer", Value::Number),
    ("T38FaxMaxDatagram", Value::Number),
    ("T38FaxMaxIFP", Value::Number),
    ("T38FaxUdpEC", Value::Word(&["t38UDPRedundancy", "t38UDPFEC", "t38UDPNoEC"])),
    ("T38FaxUdpECDepth", Value::Numbers),
    ("T38FaxUdpFECMaxSpan", Value::Number),
    ("T38ModemType", Value::Word(&["t38G3FaxOnly", "t38G3AndV34G3"])),
];

/// The line of an attribute, as it crosses. Devices differ in the case of names.
pub(super) fn line(name: &str, value: Option<&str>) -> Option<String> {
    let (name, kind) = ATTRIBUTES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    let value = value.map(str::trim);
    let kept = match (kind, value) {
        (Value::Switch, None) => return Some(format!("a={name}\r\n")),
        (Value::Switch, Some(bit)) => ["0", "1"].into_iter().find(|known| *known == bit)?.to_owned(),
        (Value::Word(words), Some(word)) => {
            words.iter().copied().find(|known| known.eq_ignore_ascii_case(word))?.to_owned()
        }
        (Value::Number, Some(digits)) => number(digits)?.to_string(),
        (Value::Numbers, Some(digits)) => match digits.split_once(' ') {
            Some((least, most)) => format!("{} {}", number(least)?, number(most)?),
            None => number(digits)?.to_string(),
        },
        (Value::Number | Value::Numbers | Value::Word(_), None) => return None,
    };
    Some(format!("a={name}:{kept}\r\n"))
}

fn number(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|_| digits.len() <= MAX_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_crosses_and_nothing_else() {
        for (name, value, kept) in [
            ("T38FaxVersion", Some("3"), Some("T38FaxVersion:3")),
            ("t38maxbitrate", Some("14400"), Some("T38MaxBitRate:14400")),
            ("T38FaxFillBitRemoval", None, Some("T38FaxFillBitRemoval")),
            ("T38FaxFillBitRemoval", Some("0"), Some("T38FaxFillBitRemoval:0")),
            ("T38FaxFillBitRemoval", Some("alice"), None),
            ("T38FaxRateManagement", Some("TransferredTCF"), Some("T38FaxRateManagement:transferredTCF")),
            ("T38FaxRateManagement", Some("alice"), None),
            ("T38FaxUdpEC", Some("t38UDPRedundancy"), Some("T38FaxUdpEC:t38UDPRedundancy")),
            ("T38FaxUdpECDepth", Some("1 3"), Some("T38FaxUdpECDepth:1 3")),
            ("T38FaxUdpECDepth", Some("1 14155550100"), None),
            ("T38FaxMaxBuffer", Some("14155550100"), None),
            ("T38FaxMaxBuffer", Some("+12"), Some("T38FaxMaxBuffer:12")),
            ("T38FaxMaxBuffer", None, None),
            ("T38VendorInfo", Some("0xB5 0x00 alice"), None),
        ] {
            assert_eq!(line(name, value), kept.map(|kept| format!("a={kept}\r\n")), "{name} {value:?}");
        }
    }
}
