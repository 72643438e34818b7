//! Which state or province a North American area code belongs to.
//!
//! libphonenumber tells the country of a +1 number and no more. The table holds
//! the geographic codes of the United States and Canada; other countries under
//! +1 are told apart by libphonenumber already, and codes without geography
//! (toll-free, personal, paging) have no state.

use super::number::Country;

/// State or province, and its area codes.
type Row = (&'static str, &'static [u16]);

/// USPS codes.
const US: &[Row] = &[
    ("AK", &[907]),
    ("AL", &[205, 251, 256, 334, 659, 938]),
    ("AR", &[327, 479, 501, 870]),
    ("AZ", &[480, 520, 602, 623, 928]),
    (
        "CA",
        &[
            209, 213, 279, 310, 323, 341, 350, 357, 369, 408, 415, 424, 442, 510, 530, 559, 562, 619, 626,
            628, 650, 657, 661, 669, 707, 714, 738, 747, 760, 805, 818, 820, 831, 837, 840, 858, 909, 916,
            925, 949, 951,
        ],
    ),
    ("CO", &[303, 719, 720, 748, 970, 983]),
    ("CT", &[203, 475, 860, 959]),
    ("DC", &[202, 771]),
    ("DE", &[302]),
    (
        "FL",
        &[
            239, 305, 321, 324, 352, 386, 407, 448, 561, 645, 656, 689, 727, 728, 754, 772, 786, 813, 850,
            863, 904, 941, 954,
        ],
    ),
    ("GA", &[229, 404, 470, 478, 678, 706, 762, 770, 912, 943]),
    ("HI", &[808]),
    ("IA", &[319, 515, 563, 641, 712]),
    ("ID", &[208, 986]),
    ("IL", &[217, 224, 309, 312, 331, 447, 464, 618, 630, 708, 730, 773, 779, 815, 847, 861, 872]),
    ("IN", &[219, 260, 317, 463, 574, 765, 812, 930]),
    ("KS", &[316, 620, 785, 913]),
    ("KY", &[270, 364, 502, 606, 859]),
    ("LA", &[225, 318, 337, 457, 504, 985]),
    ("MA", &[339, 351, 413, 508, 617, 774, 781, 857, 978]),
    ("MD", &[227, 240, 301, 410, 443, 667]),
    ("ME", &[207]),
    ("MI", &[231, 248, 269, 313, 517, 586, 616, 679, 734, 810, 906, 947, 989]),
    ("MN", &[218, 320, 507, 612, 651, 763, 924, 952]),
    ("MO", &[235, 314, 417, 557, 573, 636, 660, 816, 975]),
    ("MS", &[228, 471, 601, 662, 769]),
    ("MT", &[406]),
    ("NC", &[252, 336, 472, 704, 743, 828, 910, 919, 980, 984]),
    ("ND", &[701]),
    ("NE", &[308, 402, 531]),
    ("NH", &[603]),
    ("NJ", &[201, 551, 609, 640, 732, 848, 856, 862, 908, 973]),
    ("NM", &[505, 575]),
    ("NV", &[702, 725, 775]),
    (
        "NY",
        &[
            212, 315, 329, 332, 347, 363, 516, 518, 585, 607, 624, 631, 646, 680, 716, 718, 838, 845, 914,
            917, 929, 934,
        ],
    ),
    ("OH", &[216, 220, 234, 283, 326, 330, 380, 419, 436, 440, 513, 567, 614, 740, 937]),
    ("OK", &[405, 539, 572, 580, 918]),
    ("OR", &[458, 503, 541, 971]),
    ("PA", &[215, 223, 267, 272, 412, 445, 484, 570, 582, 610, 717, 724, 814, 835, 878]),
    ("RI", &[401]),
    ("SC", &[803, 821, 839, 843, 854, 864]),
    ("SD", &[605]),
    ("TN", &[423, 615, 629, 729, 731, 865, 901, 931]),
    (
        "TX",
        &[
            210, 214, 254, 281, 325, 346, 361, 409, 430, 432, 469, 512, 621, 682, 713, 726, 737, 806, 817,
            830, 832, 903, 915, 936, 940, 945, 956, 972, 979,
        ],
    ),
    ("UT", &[385, 435, 801]),
    ("VA", &[276, 434, 540, 571, 686, 703, 757, 804, 826, 948]),
    ("VT", &[802]),
    ("WA", &[206, 253, 360, 425, 509, 564]),
    ("WI", &[262, 274, 353, 414, 534, 608, 715, 920]),
    ("WV", &[304, 681]),
    ("WY", &[307]),
];

/// Canada Post codes. Codes that several provinces share stand in each.
const CA: &[Row] = &[
    ("AB", &[368, 403, 587, 780, 825]),
    ("BC", &[236, 250, 257, 604, 672, 778]),
    ("MB", &[204, 431, 584]),
    ("NB", &[428, 506]),
    ("NL", &[709, 879]),
    ("NS", &[782, 902]),
    ("NT", &[867]),
    ("NU", &[867]),
    ("ON", &[226, 249, 289, 343, 365, 382, 416, 437, 519, 548, 613, 647, 683, 705, 742, 753, 807, 905, 942]),
    ("PE", &[782, 902]),
    ("QC", &[263, 273, 354, 367, 418, 438, 450, 468, 514, 579, 581, 819, 873]),
    ("SK", &[306, 474, 639]),
    ("YT", &[867]),
];

/// The states or provinces of an E.164 number's area code: one, or several that
/// share the code; none outside the two countries and for codes without
/// geography.
pub(super) fn states(digits: &str, country: Option<Country>) -> impl Iterator<Item = &'static str> {
    let area = digits.strip_prefix('1').and_then(|national| national.get(..3)?.parse::<u16>().ok());
    let rows = country.map_or(&[][..], rows);
    rows.iter()
        .filter(move |(_, areas)| area.is_some_and(|area| areas.contains(&area)))
        .map(|&(state, _)| state)
}

/// The country of an American or Canadian area code, and its state or province
/// where it has just one: faster than asking libphonenumber, for a start with
/// millions of parties.
pub(super) fn locate(digits: &str) -> Option<(Country, Option<&'static str>)> {
    [Country::US, Country::CA].into_iter().find_map(|country| {
        let mut states = states(digits, Some(country));
        let state = states.next()?;
        Some((country, Some(state).filter(|_| states.next().is_none())))
    })
}

fn rows(country: Country) -> &'static [Row] {
    match country.as_str() {
        "US" => US,
        "CA" => CA,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType};

    use super::*;
    use crate::engine::number::PartyNumber;

    fn states_of(digits: &str, country: &str) -> Vec<&'static str> {
        states(digits, Some(country.parse().unwrap())).collect()
    }

    #[test]
    fn an_area_code_tells_the_state() {
        assert_eq!(states_of("12125551200", "US"), ["NY"]);
        assert_eq!(states_of("14165551200", "CA"), ["ON"]);
        assert_eq!(states_of("19025551200", "CA"), ["NS", "PE"]);
        assert_eq!(states_of("18005551200", "US"), [""; 0]);
        assert_eq!(states_of("17875551200", "PR"), [""; 0]);
        assert_eq!(states_of("4930123456", "DE"), [""; 0]);
    }

    #[test]
    fn a_code_is_located_where_the_numbering_plan_has_it() {
        let mut located = 0;
        for area in 200..=999 {
            let digits = format!("1{area}2345678");
            let number: PartyNumber = format!("+{digits}").parse().unwrap();
            let Some((country, state)) = locate(&digits) else { continue };
            located += 1;
            // What is not in service yet has the calling code's main country.
            assert!(number.country() == Some(country) || number.country() == Some(Country::US), "{area}");
            assert_eq!(
                state,
                Some(states_of(&digits, country.as_str())).filter(|s| s.len() == 1).map(|s| s[0])
            );
        }
        assert!(located > 350, "{located}");
        assert_eq!(locate("18005551200"), None);
        assert_eq!(locate("4930123456"), None);
    }

    #[test]
    fn each_code_stands_once_in_order_and_in_one_country() {
        let mut all: Vec<u16> = Vec::new();
        for (state, areas) in US.iter().chain(CA) {
            assert_eq!(state.len(), 2);
            assert!(areas.is_sorted() && !areas.is_empty(), "{state}");
            all.extend(areas.iter().filter(|area| ![782, 867, 902].contains(*area)));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(US.is_sorted() && CA.is_sorted());
    }

    /// libphonenumber's metadata knows the area codes in service, by country.
    #[test]
    fn the_table_has_every_code_that_the_numbering_plan_has() {
        let mut missing = Vec::new();
        for area in 200..=999 {
            let digits = format!("1{area}2345678");
            let Ok(number) = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None) else { continue };
            let geographic = PHONE_NUMBER_UTIL.get_number_type(&number) == PhoneNumberType::FixedLineOrMobile;
            let region = PHONE_NUMBER_UTIL.get_region_for_number(&number);
            let country = region.map(|region| region.as_region_str().parse::<Country>().unwrap());
            let Some(country) = country.filter(|country| geographic && !rows(*country).is_empty()) else {
                continue;
            };
            if states(&digits, Some(country)).next().is_none() {
                missing.push((country, area));
            }
        }
        assert_eq!(missing, []);
    }
}
