//! VLAN tags that frames come in under.
//!
//! Media is looked at without its tags: they are taken off before, so that the path
//! behind knows one kind of frame and untagged media pays one comparison for them.
//! Only what is media, under the tags of a media interface, is changed so. Of all
//! that happens to media, nothing but STUN for the daemon passes to the stack, and
//! that gets its tags back first; frames that are dropped need none, and those that
//! leave get the tags of their way out.
//!
//! Which tags are those of a media interface is not a matter of the flow: as without
//! tags, media may come in by any media interface, since the network decides on the
//! way. Media under other tags, or without, is dropped as `other-vlan`. A tag of VLAN
//! zero says a priority alone and counts as none.
//!
//! Tags that the interface itself takes off (`rxvlan` of `ethtool -k`) are not seen
//! here; such media looks untagged.

use aya_ebpf::bindings::xdp_md;
use relay_ebpf::abi::{Attachment, Tag};
use relay_ebpf::header::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Ipv4, Ipv6, VlanTag, announces_tag};
use relay_ebpf::verdict::Verdict;

use crate::apart;
use crate::maps;
use crate::packet::{self, Frame};
use crate::parse::media;
use crate::reshape;

/// One tag ends here, and the second begins.
const INNER: usize = size_of::<Ethernet>() + size_of::<VlanTag>();
const AFTER: usize = INNER + size_of::<VlanTag>();

/// What was taken off a frame.
#[repr(C)]
pub(crate) struct Taken {
    /// The media interface whose tags these are.
    pub(crate) interface: u32,
    /// How many bytes they took.
    length: u32,
    /// What announced the first one.
    announcement: u16,
    reserved: u16,
    tags: [VlanTag; 2],
}

const _: () = assert!(size_of::<Taken>() == 20);

impl Taken {
    /// Nothing.
    pub(crate) const NOTHING: Self = Self {
        interface: 0,
        length: 0,
        announcement: 0,
        reserved: 0,
        tags: [VlanTag { control: 0, ethertype: 0 }; 2],
    };

    /// Whether anything was.
    #[inline(always)]
    pub(crate) fn is_something(&self) -> bool {
        self.length != 0
    }
}

/// Takes the tags off a tagged frame of media. The error is the verdict on any
/// other, which stays as it is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn take_tags_off(context: *mut xdp_md, taken: *mut Taken) -> u32 {
    apart::ended(take_off(context, taken))
}

#[inline(always)]
fn take_off(context: *mut xdp_md, taken: *mut Taken) -> Result<(), Verdict> {
    let taken = apart::given(taken)?;
    let frame = Frame::of_metadata(context);
    let ethernet: &Ethernet = frame.view(0)?;
    if ethernet.is_group() {
        return Err(Verdict::NotUnicast);
    }
    taken.announcement = ethernet.ethertype;
    let kept = *ethernet;
    let outer: &VlanTag = frame.view(size_of::<Ethernet>())?;
    taken.tags[0] = *outer;
    let mut attachment = Attachment {
        interface: packet::ingress(context),
        tags: [Tag::of_frame(taken.announcement, outer.control), Tag::NONE],
    };
    let (ethertype, start) = if announces_tag(outer.ethertype) {
        let inner: &VlanTag = frame.view(INNER)?;
        taken.tags[1] = *inner;
        attachment.then(Tag::of_frame(outer.ethertype, inner.control));
        is_media::<AFTER>(frame, inner.ethertype)?;
        (inner.ethertype, AFTER)
    } else {
        is_media::<INNER>(frame, outer.ethertype)?;
        (outer.ethertype, INNER)
    };
    taken.interface = maps::arrival(attachment).ok_or(Verdict::OtherVlan)?;
    reshape::resize(context, start, size_of::<Ethernet>())?;
    taken.length = (start - size_of::<Ethernet>()) as u32;
    let ethernet: &mut Ethernet = Frame::of_metadata(context).view(0)?;
    *ethernet = Ethernet { ethertype, ..kept };
    Ok(())
}

/// Gives the frame back what was taken off it. Whatever passes to the stack is long
/// enough not to have been padded meanwhile: STUN has no shorter frame.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn put_tags_back(context: *mut xdp_md, taken: *mut Taken) -> u32 {
    apart::ended(put_back(context, taken))
}

#[inline(always)]
fn put_back(context: *mut xdp_md, taken: *mut Taken) -> Result<(), Verdict> {
    let taken = apart::given(taken)?;
    let kept: Ethernet = *Frame::of_metadata(context).view(0)?;
    let start = if taken.length as usize == size_of::<VlanTag>() { INNER } else { AFTER };
    reshape::resize(context, size_of::<Ethernet>(), start)?;
    let frame = Frame::of_metadata(context);
    let ethernet: &mut Ethernet = frame.view(0)?;
    *ethernet = Ethernet { ethertype: taken.announcement, ..kept };
    *frame.view(size_of::<Ethernet>())? = taken.tags[0];
    if start == AFTER {
        *frame.view(INNER)? = taken.tags[1];
    }
    Ok(())
}

/// Whether what stands at `START`, behind all tags, is media.
#[inline(always)]
fn is_media<const START: usize>(frame: Frame, ethertype: u16) -> Result<(), Verdict> {
    match ethertype {
        ETHERTYPE_IPV4 => media::<Ipv4>(frame, START).map(drop),
        ETHERTYPE_IPV6 => media::<Ipv6>(frame, START).map(drop),
        _ => Err(Verdict::NotIp),
    }
}
