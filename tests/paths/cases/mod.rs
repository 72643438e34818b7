//! What must be so on every path.

pub(crate) mod changes;
pub(crate) mod content;
pub(crate) mod quality;
pub(crate) mod relaying;
pub(crate) mod sources;
