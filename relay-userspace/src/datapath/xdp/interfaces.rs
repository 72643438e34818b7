//! The media interfaces, and what frames know of them.
//!
//! A frame knows the physical interface and its VLAN tags; routes, addresses and the
//! configuration know the VLAN interface that both make up. The program sits on the
//! physical one, where tags are still in the frame and may be written: what is
//! redirected to a VLAN interface itself is lost.

use std::io;

use relay_ebpf::abi::{Attachment, MAX_DEVICES, Tag};

use super::load::failed;
use super::netlink::{Link, Netlink};
use crate::datapath::{DatapathConfig, DatapathError};

const DOING: &str = "finding the media interfaces";

/// An interface that media comes in and leaves on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaInterface {
    /// The one that routes and addresses name.
    pub(super) link: Link,
    /// The physical one under its VLAN tags; `link` itself where it has none.
    pub(super) port: Link,
    /// Its tags there.
    pub(super) tags: [Tag; 2],
}

impl MediaInterface {
    /// As frames know it.
    pub(super) const fn attachment(&self) -> Attachment {
        Attachment { interface: self.port.index, tags: self.tags }
    }

    /// Whether it has VLAN tags.
    pub(super) const fn is_tagged(&self) -> bool {
        !self.tags[0].is_none()
    }

    fn of(link: &Link, links: &[Link]) -> Result<Self, DatapathError> {
        let mut port = link;
        let mut inwards = Vec::new();
        while let Some(tag) = port.tag {
            inwards.push(tag);
            let parent = port.parent.and_then(|index| links.iter().find(|link| link.index == index));
            port = parent.ok_or_else(|| {
                let problem = format!(
                    "the interface under {} is not in this network namespace: run Vizard where it is",
                    port.name
                );
                failed(DOING, problem)
            })?;
        }
        let tags = match inwards[..] {
            [] => [Tag::NONE; 2],
            [only] => [only, Tag::NONE],
            [inner, outer] => [outer, inner],
            [..] => {
                let problem = format!(
                    "{} is {} VLANs deep, and media may have two tags at most: name another interface",
                    link.name,
                    inwards.len()
                );
                return Err(failed(DOING, problem));
            }
        };
        Ok(Self { link: link.clone(), port: port.clone(), tags })
    }
}

/// The interfaces that media comes in and leaves on: those that are configured, or
/// those that carry the media addresses.
pub(super) fn find(
    config: &DatapathConfig,
    netlink: &mut Netlink,
) -> Result<Vec<MediaInterface>, DatapathError> {
    let asking = |error: io::Error| failed("listing interfaces and addresses", error.to_string());
    let links = netlink.links().map_err(asking)?;
    let named = if config.interfaces.is_empty() {
        carrying(config, &links, &netlink.addresses().map_err(asking)?)?
    } else {
        named(&config.interfaces, &links)?
    };
    if named.len() > MAX_DEVICES as usize {
        let problem = format!("there are {}, and at most {MAX_DEVICES} are possible", named.len());
        return Err(failed(DOING, problem));
    }
    named.into_iter().map(|link| MediaInterface::of(link, &links)).collect()
}

/// Those that carry the media addresses.
fn carrying<'a>(
    config: &DatapathConfig,
    links: &'a [Link],
    owned: &[(std::net::IpAddr, u32)],
) -> Result<Vec<&'a Link>, DatapathError> {
    let mut found: Vec<&Link> = Vec::new();
    for address in &config.addresses {
        let owner = owned.iter().find(|(own, _)| own == address).map(|(_, index)| *index);
        let link = links.iter().find(|link| Some(link.index) == owner).ok_or_else(|| {
            failed(
                DOING,
                format!(
                    "no interface has the media address {address}: add it with `ip address add`, or name the interfaces"
                ),
            )
        })?;
        if !found.contains(&link) {
            found.push(link);
        }
    }
    Ok(found)
}

fn named<'a>(names: &[String], links: &'a [Link]) -> Result<Vec<&'a Link>, DatapathError> {
    let find = |name: &String| {
        links.iter().find(|link| link.name == *name).ok_or_else(|| {
            let known: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
            failed(DOING, format!("there is no interface {name} here, only {}", known.join(", ")))
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: u16 = 0x8100;
    const SERVICE: u16 = 0x88a8;

    fn link(index: u32, name: &str, on: Option<(u32, Tag)>) -> Link {
        let (parent, tag) = on.unzip();
        Link { index, name: name.to_owned(), parent, tag, ..Link::default() }
    }

    fn links() -> Vec<Link> {
        vec![
            link(1, "lo", None),
            link(2, "eth0", None),
            link(3, "eth0.100", Some((2, Tag::new(CUSTOMER, 100)))),
            link(4, "carrier", Some((2, Tag::new(SERVICE, 4094)))),
            link(5, "carrier.7", Some((4, Tag::new(CUSTOMER, 7)))),
            link(6, "carrier.7.8", Some((5, Tag::new(CUSTOMER, 8)))),
            link(7, "moved", Some((99, Tag::new(CUSTOMER, 5)))),
            // The far end of a virtual pair has an interface under it too, and no tag.
            Link { parent: Some(2), ..link(8, "veth0", None) },
        ]
    }

    fn attachment(index: usize) -> Result<Attachment, String> {
        let links = links();
        MediaInterface::of(&links[index], &links)
            .map(|found| found.attachment())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn tags_are_those_between_the_interface_and_the_wire() {
        let at = |interface, tags| Ok(Attachment { interface, tags });
        assert_eq!(attachment(1), at(2, [Tag::NONE; 2]));
        assert_eq!(attachment(2), at(2, [Tag::new(CUSTOMER, 100), Tag::NONE]));
        assert_eq!(attachment(3), at(2, [Tag::new(SERVICE, 4094), Tag::NONE]));
        assert_eq!(attachment(4), at(2, [Tag::new(SERVICE, 4094), Tag::new(CUSTOMER, 7)]));
        assert_eq!(attachment(7), at(8, [Tag::NONE; 2]));
    }

    #[test]
    fn what_frames_cannot_say_is_refused() {
        let deep = attachment(5).unwrap_err();
        assert!(deep.contains("carrier.7.8 is 3 VLANs deep"), "{deep}");
        let moved = attachment(6).unwrap_err();
        assert!(moved.contains("under moved is not in this network namespace"), "{moved}");
    }
}
