//! Extensions that are built beside what must become of them.

use proptest::prelude::*;

use super::*;

/// RTP with this many sources and this extension.
fn packet(sources: u8, profile: [u8; 2], content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90 | sources, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    packet.extend(vec![0x33; usize::from(sources) * 4]);
    packet.extend(profile);
    packet.extend(u16::try_from(content.len() / 4).unwrap().to_be_bytes());
    packet.extend(content);
    packet.extend([0xd5; 160]);
    packet
}

/// What the content of an extension becomes.
fn blanked(profile: [u8; 2], content: &[u8], allowed: u16) -> Vec<u8> {
    let mut after = packet(3, profile, content);
    blank(&mut after, allowed).unwrap();
    after[28..28 + content.len()].to_vec()
}

#[test]
fn an_extension_becomes_padding_and_nothing_else_changes() {
    for sources in 0..16 {
        for words in [0, 1, 5, 300] {
            let before = packet(sources, [0x10, 0x05], &vec![b'n'; words * 4]);
            let mut after = before.clone();
            blank(&mut after, u16::MAX).unwrap();
            let at = 12 + usize::from(sources) * 4;
            let end = at + 4 + words * 4;
            assert_eq!(after[at..at + 2], ONE_BYTE);
            assert_eq!(after[at + 2..at + 4], before[at + 2..at + 4]);
            assert!(after[at + 4..end].iter().all(|&byte| byte == 0));
            assert_eq!((&after[..at], &after[end..]), (&before[..at], &before[end..]));
        }
    }
}

#[test]
fn what_follows_the_end_of_the_list_is_blanked() {
    let content = [0x10, 1, 0xf0, 0x10, 1, 0x10, 1, 0x10];
    assert_eq!(blanked(ONE_BYTE, &content, u16::MAX), [0x10, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn padding_carries_nothing() {
    let content = [0x0f, 0, 0x00, 0x03, 0x20, 9, 0x07, 0];
    assert_eq!(blanked(ONE_BYTE, &content, 1 << 2), [0, 0, 0, 0, 0x20, 9, 0, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_elements_that_are_allowed_stay(
        elements in prop::collection::vec((1..15_u8, prop::collection::vec(1..=255_u8, 1..17), 0..4_usize), 0..6),
        allowed: u16,
    ) {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (id, data, padding) in elements {
            let head = id << 4 | u8::try_from(data.len() - 1).unwrap();
            let element = [&[head][..], &data].concat();
            after.extend(if allowed >> id & 1 == 1 { element.clone() } else { vec![0; element.len()] });
            before.extend(element);
            before.resize(before.len() + padding, 0);
            after.resize(before.len(), 0);
        }
        let whole = before.len().next_multiple_of(4);
        before.resize(whole, 0);
        after.resize(whole, 0);
        prop_assert_eq!(blanked(ONE_BYTE, &before, allowed), after.clone());
        prop_assert_eq!(blanked(ONE_BYTE, &after, allowed), after, "what is clean stays as it is");
    }
}
