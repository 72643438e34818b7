//! SIP as RFC 3261 defines it: messages, transactions, dialogs.
//!
//! The message layer is our own, because a relay that hides numbers must know
//! exactly which bytes are a header, a user part or a body, for every input.
//! [`message`] indexes the wire once; [`header`] and [`uri`] are views of
//! single values; [`build`] is the only way out, and writes nothing that it
//! was not told to write. [`transaction`] and [`dialog`] stand on these and do
//! no I/O: messages and the time come in, messages and events go out. Nothing
//! here decides what a call is: that is the back-to-back user agent's.

pub mod build;
pub mod dialog;
pub mod header;
pub mod message;
pub mod method;
pub mod name;
pub mod rack;
pub mod sdp;
pub mod session_timer;
pub mod status;
pub mod transaction;
pub mod transport;
pub mod typed;
pub mod uri;

mod scan;
