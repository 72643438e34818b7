//! Compounds that are built beside what must become of them.

use proptest::prelude::*;

use super::*;

fn scrubbed(packet: &[u8]) -> Result<Vec<u8>, Verdict> {
    let mut bytes = packet.to_vec();
    scrub(&mut bytes).map(|()| bytes)
}

/// A packet of this kind and count with a header that fits its content.
fn packet(kind: u8, count: u8, content: &[u8]) -> Vec<u8> {
    assert_eq!(content.len() % 4, 0);
    let words = u16::try_from(content.len() / 4).unwrap().to_be_bytes();
    [&[0x80 | count, kind], &words[..], content].concat()
}

/// A chunk with these items, and what must become of it.
fn chunk(ssrc: u32, items: &[(u8, Vec<u8>)]) -> [Vec<u8>; 2] {
    let (mut before, mut after) = (ssrc.to_be_bytes().to_vec(), ssrc.to_be_bytes().to_vec());
    for (kind, text) in items {
        let head = [*kind, u8::try_from(text.len()).unwrap()];
        before.extend(head);
        before.extend(text);
        after.extend(head);
        after.extend(text.iter().map(|_| b'-'));
        if let (PRIV, Some(prefix)) = (*kind, text.len().checked_sub(1)) {
            let at = after.len() - 1 - prefix;
            after[at] = 0;
        }
    }
    let whole = (before.len() + 1).next_multiple_of(4);
    before.resize(whole, 0);
    after.resize(whole, 0);
    [before, after]
}

/// One packet and what must become of it.
fn part() -> impl Strategy<Value = [Vec<u8>; 2]> {
    let bytes = |most: usize| prop::collection::vec(any::<u8>(), 0..most);
    let words = |most: usize| prop::collection::vec(any::<[u8; 4]>(), 0..most).prop_map(|w| w.concat());
    let both = |kind, count, stays: Vec<u8>, blank: Vec<u8>| {
        let zeros = vec![0; blank.len()];
        [packet(kind, count, &[&stays[..], &blank].concat()), packet(kind, count, &[stays, zeros].concat())]
    };
    let reports = (any::<bool>(), 0..4_u8, words(4), any::<[[u8; 24]; 4]>()).prop_map(
        move |(sender, count, extension, random)| {
            let fixed = if sender { 24 } else { 4 };
            let kept = random.concat()[..fixed + 24 * usize::from(count.min(2))].to_vec();
            both(if sender { SR } else { RR }, count.min(2), kept, extension)
        },
    );
    let items = prop::collection::vec((1..=255_u8, bytes(40)), 0..4);
    let sdes = prop::collection::vec((any::<u32>(), items), 0..4).prop_map(|chunks| {
        let count = u8::try_from(chunks.len()).unwrap();
        let pairs: Vec<_> = chunks.iter().map(|(ssrc, items)| chunk(*ssrc, items)).collect();
        [0, 1].map(|which| {
            packet(SDES, count, &pairs.iter().flat_map(|pair| pair[which].clone()).collect::<Vec<_>>())
        })
    });
    let bye = (prop::collection::vec(any::<[u8; 4]>(), 0..4), prop::option::of(bytes(60))).prop_map(
        |(sources, reason)| {
            let count = u8::try_from(sources.len()).unwrap();
            let content = |text: &dyn Fn(&[u8]) -> Vec<u8>| {
                let mut content = sources.concat();
                if let Some(reason) = &reason {
                    content.push(u8::try_from(reason.len()).unwrap());
                    content.extend(text(reason));
                    content.resize(content.len().next_multiple_of(4), 0);
                }
                packet(BYE, count, &content)
            };
            [content(&<[u8]>::to_vec), content(&|text| vec![b'-'; text.len()])]
        },
    );
    let app = (0..32_u8, any::<[u8; 4]>(), any::<[u8; 4]>(), words(8)).prop_map(
        move |(subtype, source, name, data)| both(APP, subtype, source.to_vec(), [&name[..], &data].concat()),
    );
    let feedback = (any::<bool>(), 0..32_u8, any::<[u8; 8]>(), words(8)).prop_map(
        move |(transport, format, sources, information)| {
            let kind = if transport { RTPFB } else { PSFB };
            let known: &[u8] = if transport { &[1, 3, 4, 5, 15] } else { &[1, 2, 4, 5, 6] };
            if known.contains(&format) {
                both(kind, format, [&sources[..], &information].concat(), Vec::new())
            } else {
                both(kind, format, sources.to_vec(), information)
            }
        },
    );
    let blocks = prop::collection::vec((any::<u8>(), any::<u8>(), words(6)), 0..4);
    let xr = (any::<[u8; 4]>(), blocks).prop_map(|(source, blocks)| {
        let (mut before, mut after) = (source.to_vec(), source.to_vec());
        for (kind, specific, data) in blocks {
            let [high, low] = u16::try_from(data.len() / 4).unwrap().to_be_bytes();
            before.extend([kind, specific, high, low]);
            before.extend(&data);
            if (1..=7).contains(&kind) {
                after.extend([kind, specific, high, low]);
                after.extend(&data);
            } else {
                after.extend([255, 0, high, low]);
                after.extend(vec![0; data.len()]);
            }
        }
        [packet(XR, 0, &before), packet(XR, 0, &after)]
    });
    let other = (prop_oneof![192..200_u8, 208..224_u8], 0..32_u8, any::<[u8; 4]>(), words(8))
        .prop_map(move |(kind, count, source, rest)| both(kind, count, source.to_vec(), rest));
    prop_oneof![reports, sdes, bye, app, feedback, xr, other]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn compounds_of_any_order_keep_their_lengths_and_lose_their_texts(
        parts in prop::collection::vec(part(), 1..5),
        padding in prop::option::of(1..4_u8),
    ) {
        let [mut before, mut after] = [0, 1].map(|which| {
            parts.iter().flat_map(|pair| pair[which].clone()).collect::<Vec<_>>()
        });
        if let (Some(words), Some([last, _])) = (padding, parts.last()) {
            let start = before.len() - last.len();
            for (bytes, filler) in [(&mut before, 0x55), (&mut after, 0)] {
                bytes[start] |= 0x20;
                let length = u16::from_be_bytes([bytes[start + 2], bytes[start + 3]]) + u16::from(words);
                bytes[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
                bytes.extend(vec![filler; usize::from(words) * 4 - 1]);
                bytes.push(words * 4);
            }
        }
        let expected = if before.len() > usize::from(MAX_BYTES) { Err(Verdict::RtcpTooLong) } else { Ok(after) };
        let result = scrubbed(&before);
        prop_assert_eq!(&result, &expected);
        if let Ok(after) = result {
            prop_assert_eq!(scrubbed(&after), Ok(after.clone()), "what is clean stays as it is");
        }
        for cut in 0..before.len().min(200) {
            let whole = parts.iter().scan(0, |at, [part, _]| { *at += part.len(); Some(*at) }).any(|end| end == cut);
            if !whole {
                prop_assert_eq!(scrubbed(&before[..cut]), Err(Verdict::RtcpMalformed), "cut to {}", cut);
            }
        }
    }

    /// Whatever comes, nothing panics, and a second time changes nothing.
    #[test]
    fn garbage_is_refused_or_clean(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        kinds in prop::collection::vec(192..210_u8, 30),
    ) {
        bytes.truncate(bytes.len() / 4 * 4);
        for (word, kind) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(kinds) {
            if word[0] & 1 == 0 {
                *word = [0x80 | word[0] & 3, kind, 0, word[3] & 7];
            }
        }
        if let Ok(clean) = scrubbed(&bytes) {
            prop_assert_eq!(scrubbed(&clean), Ok(clean.clone()));
        }
    }
}

#[test]
fn every_length_that_does_not_add_up_is_malformed() {
    let source = [0, 0, 0, 7];
    for (what, bytes) in [
        ("nothing", Vec::new()),
        ("half a word", vec![0x80, RR]),
        ("version 1", vec![0x40, RR, 0, 1, 0, 0, 0, 7]),
        ("a header that promises more", vec![0x80, RR, 0, 2, 0, 0, 0, 7]),
        ("a report that is not there", packet(RR, 1, &source)),
        ("sender information that is not there", packet(SR, 0, &source)),
        ("a source that is not there", packet(BYE, 2, &source)),
        ("a reason that is not there", packet(BYE, 1, &[source, [9, b'b', b'y', b'e']].concat())),
        ("a chunk that is not there", packet(SDES, 2, &[source, [0; 4]].concat())),
        ("an item that is not there", packet(SDES, 1, &[source, [1, 9, b'a', b'b']].concat())),
        ("a list without an end", packet(SDES, 1, &[source, [1, 2, b'a', b'b']].concat())),
        ("a block that is not there", packet(XR, 0, &[source, [4, 0, 0, 2]].concat())),
        ("padding of nothing", vec![0xa0, RR, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0]),
        ("padding of half a word", vec![0xa0, RR, 0, 2, 0, 0, 0, 7, 0, 0, 0, 2]),
        ("more padding than packet", vec![0xa0, RR, 0, 2, 0, 0, 0, 7, 0, 0, 0, 12]),
        (
            "padding before the end",
            [vec![0xa0, RR, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4], packet(RR, 0, &source)].concat(),
        ),
    ] {
        assert_eq!(scrubbed(&bytes), Err(Verdict::RtcpMalformed), "{what}");
    }
}

#[test]
fn the_longest_compound_is_walked_and_a_longer_one_is_not() {
    let longest = packet(APP, 0, &vec![b'x'; usize::from(MAX_BYTES) - 4]);
    let clean = scrubbed(&longest).unwrap();
    assert!(clean[8..].iter().all(|&byte| byte == 0));
    assert_eq!(scrubbed(&[&longest[..], &[0; 4]].concat()), Err(Verdict::RtcpTooLong));
}
