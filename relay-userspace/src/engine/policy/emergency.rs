//! Which dialled texts ask for help, per country.
//!
//! 112 and 911 are emergency numbers everywhere, as in every mobile telephone
//! (3GPP TS 22.101 section 10.1.1); a country's own numbers join them. Numbers
//! in the configuration replace all of these for their country. `urn:service:sos`
//! and what is below it (RFC 5031 section 4.2) always counts.

use crate::engine::config::Emergency;
use crate::engine::dialling;
use crate::engine::number::Country;

/// Emergency numbers in every country.
const EVERYWHERE: [&str; 2] = ["112", "911"];

/// Countries and their own numbers for police, fire and ambulance, and for the
/// sea and mountains where those have one (ITU-T E.161.1 and the countries'
/// numbering plans).
const OWN: &[(&str, &[&str])] = &[
    ("AE", &["999", "998", "997", "996"]),
    ("AL", &["129", "128", "127"]),
    ("AR", &["101", "100", "107", "106"]),
    ("AT", &["133", "122", "144", "140"]),
    ("AU", &["000", "106"]),
    ("AZ", &["101", "102", "103"]),
    ("BA", &["122", "123", "124"]),
    ("BD", &["999"]),
    ("BE", &["100", "101"]),
    ("BG", &["166", "160", "150"]),
    ("BH", &["999"]),
    ("BO", &["110", "118", "119"]),
    ("BR", &["190", "192", "193"]),
    ("BY", &["101", "102", "103"]),
    ("CH", &["117", "118", "144", "1414", "1415"]),
    ("CL", &["131", "132", "133"]),
    ("CN", &["110", "119", "120", "122"]),
    ("CO", &["123"]),
    ("CY", &["199"]),
    ("CZ", &["150", "155", "156", "158"]),
    ("DE", &["110"]),
    ("DK", &["114"]),
    ("DZ", &["14", "17", "1548"]),
    ("EC", &["101", "102"]),
    ("EE", &["110"]),
    ("EG", &["122", "123", "180"]),
    ("ES", &["061", "062", "080", "085", "088", "091", "092"]),
    ("ET", &["907", "939", "991"]),
    ("FR", &["15", "17", "18", "114", "115", "116117", "119", "191", "196", "197"]),
    ("GB", &["999"]),
    ("GG", &["999"]),
    ("GH", &["191", "192", "193", "999"]),
    ("GR", &["100", "108", "166", "199"]),
    ("HK", &["999"]),
    ("HR", &["192", "193", "194", "195"]),
    ("HU", &["104", "105", "107"]),
    ("ID", &["110", "113", "115", "118", "119"]),
    ("IE", &["999"]),
    ("IL", &["100", "101", "102"]),
    ("IM", &["999"]),
    ("IN", &["100", "101", "102", "108"]),
    ("IQ", &["104", "115", "122"]),
    ("IR", &["110", "115", "125"]),
    ("IT", &["113", "115", "117", "118", "1515", "1530"]),
    ("JE", &["999"]),
    ("JO", &["911"]),
    ("JP", &["110", "118", "119"]),
    ("KE", &["999"]),
    ("KG", &["101", "102", "103"]),
    ("KR", &["119", "113", "111", "122"]),
    ("KZ", &["101", "102", "103"]),
    ("LI", &["117", "118", "144"]),
    ("LK", &["110", "119", "1990"]),
    ("LT", &["101", "102", "103"]),
    ("LU", &["113"]),
    ("LV", &["110", "113"]),
    ("MA", &["15", "19", "177", "190"]),
    ("MC", &["15", "17", "18"]),
    ("MD", &["901", "902", "903"]),
    ("ME", &["122", "123", "124"]),
    ("MK", &["192", "193", "194"]),
    ("MM", &["191", "192", "199"]),
    ("MN", &["101", "102", "103"]),
    ("MO", &["999"]),
    ("MT", &["191", "196", "199"]),
    ("MX", &["060", "065", "066", "068"]),
    ("MY", &["999", "994"]),
    ("NG", &["199", "767"]),
    ("NO", &["110", "113", "120", "1412"]),
    ("NP", &["100", "101", "102"]),
    ("NZ", &["111"]),
    ("OM", &["9999"]),
    ("PE", &["105", "106", "116"]),
    ("PH", &["117"]),
    ("PK", &["15", "16", "115", "1122"]),
    ("PL", &["997", "998", "999"]),
    ("PT", &["115", "117"]),
    ("PY", &["132"]),
    ("QA", &["999"]),
    ("RO", &["961"]),
    ("RS", &["192", "193", "194"]),
    ("RU", &["101", "102", "103", "104"]),
    ("SA", &["997", "998", "999"]),
    ("SE", &["90000"]),
    ("SG", &["995", "999"]),
    ("SI", &["113"]),
    ("SK", &["150", "155", "158"]),
    ("TH", &["191", "199", "1669"]),
    ("TN", &["190", "197", "198"]),
    ("TR", &["110", "155", "156", "158", "177"]),
    ("TW", &["110", "118", "119"]),
    ("TZ", &["999", "114", "115"]),
    ("UA", &["101", "102", "103", "104"]),
    ("UG", &["999"]),
    ("UZ", &["101", "102", "103"]),
    ("VE", &["171"]),
    ("VN", &["113", "114", "115"]),
    ("ZA", &["10111", "10177", "107"]),
    ("ZM", &["991", "993", "999"]),
    ("ZW", &["993", "994", "995", "999"]),
];

/// Whether a dialled text asks for help, from a trunk in `country`. Visual
/// separators, a `tel:` in front and parameters behind do not matter.
pub(in crate::engine) fn is_emergency(config: &Emergency, country: Country, dialled: &str) -> bool {
    let dialled = dialled.trim();
    if is_service(dialled) {
        return true;
    }
    let number = strip_prefix_ignoring_case(dialled, "tel:").unwrap_or(dialled);
    let number = number.split(';').next().unwrap_or(number);
    let Some(digits) = dialling::subscriber_digits(number) else { return false };
    match config.numbers.iter().find(|(of, _)| *of == country) {
        Some((_, numbers)) => {
            numbers.iter().filter_map(|number| dialling::subscriber_digits(number)).any(|n| n == digits)
        }
        None => EVERYWHERE.contains(&digits.as_str()) || own_numbers(country).contains(&digits.as_str()),
    }
}

/// `urn:service:sos` and `urn:service:sos.…`; the scheme, the namespace and
/// the labels know no case (RFC 5031 section 3).
fn is_service(text: &str) -> bool {
    strip_prefix_ignoring_case(text, "urn:service:sos")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ';', '?', '#']))
}

fn own_numbers(country: Country) -> &'static [&'static str] {
    OWN.binary_search_by_key(&country.as_str(), |(of, _)| of).map_or(&[], |index| OWN[index].1)
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(country: &str, dialled: &str) -> bool {
        is_emergency(&Emergency::default(), country.parse().unwrap(), dialled)
    }

    #[test]
    fn the_table_is_in_order_so_that_it_can_be_searched() {
        assert!(OWN.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn every_way_to_dial_for_help_is_understood() {
        for (country, dialled) in [
            ("US", "911"),
            ("CA", "911"),
            ("DE", "112"),
            ("DE", "110"),
            ("GB", "999"),
            ("JP", "119"),
            ("AU", "000"),
            ("US", "9-1-1"),
            ("GB", " 9 9 9 "),
            ("FR", "tel:15"),
            ("US", "TEL:911;phone-context=+1"),
            ("US", "911;phone-context=+1"),
            ("US", "urn:service:sos"),
            ("ZZ", "URN:Service:SOS.police"),
            ("ZZ", "112"),
        ] {
            assert!(asks(country, dialled), "{dialled} in {country}");
        }
    }

    #[test]
    fn other_numbers_do_not_ask_for_help() {
        for (country, dialled) in [
            ("US", "999"),
            ("US", "+14155550911"),
            ("US", "9110"),
            ("US", "urn:service:sosiege"),
            ("US", "urn:service:counseling"),
            ("US", "sos"),
            ("US", ""),
            ("DE", "11٢"),
        ] {
            assert!(!asks(country, dialled), "{dialled} in {country}");
        }
    }

    #[test]
    fn the_configuration_replaces_a_country_and_no_other() {
        let us: Country = "US".parse().unwrap();
        let config = Emergency { trunk: None, numbers: vec![(us, vec!["9-3-3".into()])] };
        assert!(is_emergency(&config, us, "933"));
        assert!(!is_emergency(&config, us, "911"));
        assert!(is_emergency(&config, us, "urn:service:sos"));
        assert!(is_emergency(&config, "GB".parse().unwrap(), "999"));
    }
}
