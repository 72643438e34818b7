//! SIP as RFC 3261 defines it: messages, transactions, dialogs.

pub mod sdp;
