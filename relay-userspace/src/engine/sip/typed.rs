//! rsip's typed headers, where they say what ours say.
//!
//! rsip 0.4 knows more header types than Vizard reads itself, but it mistakes
//! a good many valid values for others (a user part for a host, a second hop
//! for nothing, half an IPv6 address for a whole one). So it never sees the
//! wire: it gets one value that our scanner has taken apart and written
//! plainly, and its view is handed out only when every part of it is ours. It
//! never writes either; [`super::build`] does.

use rsip::headers::{ToTypedHeader, UntypedHeader, typed, untyped};

use super::header::{CSeq, NameAddr, Transport, Via};
use super::uri::Host;

/// One Via hop.
#[must_use]
pub fn via(ours: &Via<'_>) -> Option<typed::Via> {
    let transport = match ours.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
        Transport::Other(token) => token,
    };
    let sent_by = ours.port.map_or_else(|| ours.host.to_owned(), |port| format!("{}:{port}", ours.host));
    let mut text = format!("SIP/2.0/{transport} {sent_by}");
    for (name, value) in ours.params.iter() {
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    let theirs = untyped::Via::new(text).typed().ok()?;
    let agrees = theirs.transport.to_string().eq_ignore_ascii_case(transport)
        && theirs.uri.host_with_port.to_string().eq_ignore_ascii_case(&sent_by)
        && theirs.uri.auth.is_none()
        && theirs.branch().map(rsip::param::Branch::value) == ours.branch()
        && theirs.received().ok()? == ours.received()
        && theirs.params.len() == ours.params.iter().count();
    agrees.then_some(theirs)
}

/// `CSeq`, for the methods that rsip knows.
#[must_use]
pub fn cseq(ours: &CSeq) -> Option<typed::CSeq> {
    let text = format!("{} {}", ours.number, ours.method);
    let theirs = untyped::CSeq::new(text).typed().ok()?;
    (theirs.seq == ours.number && theirs.method.to_string() == ours.method.as_str()).then_some(theirs)
}

/// A name-addr, as the From header that rsip has for it. The display name is
/// left out: [`NameAddr::display`] has it.
#[must_use]
pub fn address(ours: &NameAddr<'_>) -> Option<typed::From> {
    let tag = ours.tag().map_or_else(String::new, |tag| format!(";tag={tag}"));
    let theirs = untyped::From::new(format!("<{}>{tag}", ours.uri_text())).typed().ok()?;
    let uri = ours.uri();
    let agrees = theirs.uri.to_string() == uri.as_str()
        && theirs.uri.user() == uri.user()
        && uri.host().is_some_and(|host| match host {
            Host::Ip(ip) => theirs.uri.host().to_string() == ip.to_string(),
            Host::Name(name) => theirs.uri.host().to_string() == name,
        })
        && theirs.uri.port().map(|port| *port.value()) == uri.port()
        && theirs.uri.params.len() == uri.params().count()
        && theirs.tag().map(rsip::param::Tag::value) == ours.tag();
    agrees.then_some(theirs)
}

#[cfg(test)]
mod tests;
