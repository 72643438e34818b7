//! What makes two messages the same transaction (RFC 3261 sections 17.1.3 and
//! 17.2.3).

use crate::engine::sip::message::Message;
use crate::engine::sip::method::Method;

/// Separates the parts of an identity; no part can hold it.
const END: char = '\0';

/// The identity of a client transaction: the branch is random, so it alone
/// names one, but for the CANCEL that shares its INVITE's.
pub(super) fn of_client(branch: &str, method: &Method) -> String {
    let mut id = String::with_capacity(branch.len() + 1);
    id.push_str(branch);
    if *method == Method::Cancel {
        id.push(END);
    }
    id
}

/// The identity of the server transaction that a request belongs to. ACK and
/// CANCEL have that of their INVITE. Written into `id`, which is reused.
///
/// For a branch with the magic cookie it is branch, `sent-by` and method.
/// Without, it is what RFC 2543 compares, less the To tag: that of an ACK is
/// the one the response gave, which the INVITE cannot have.
pub(super) fn of_server(request: &Message, method: &Method, id: &mut String) -> Option<()> {
    id.clear();
    let via = request.via().ok()?;
    let method = if matches!(method, Method::Ack | Method::Cancel) { &Method::Invite } else { method };
    if let Some(token) = via.branch_token() {
        // Branches compare without case like every parameter (section 7.3.1).
        push_lower(id, token);
        id.push(END);
        push_lower(id, via.host);
        id.push(END);
        id.push_str(&via.port.unwrap_or(5060).to_string());
    } else {
        id.push(END);
        for part in [
            request.request_uri()?.as_str(),
            request.from().ok()?.tag().unwrap_or_default(),
            request.call_id().ok()?,
            via.host,
            via.branch().unwrap_or_default(),
        ] {
            id.push_str(part);
            id.push(END);
        }
        id.push_str(&request.cseq().ok()?.number.to_string());
    }
    id.push(END);
    id.push_str(method.as_str());
    Some(())
}

/// A tag for a response without state: the same for each retransmission of a
/// request (RFC 3261 section 8.2.7). FNV-1a; it protects nothing.
pub(super) fn stateless_tag(id: &str) -> String {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn push_lower(id: &mut String, text: &str) {
    id.extend(text.chars().map(|c| c.to_ascii_lowercase()));
}
