//! Methods, as open tokens: an unknown one is carried and answered (405, 501),
//! never a parse error. They are case-sensitive (RFC 3261 section 7.1).

use std::fmt;

use super::scan;

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $text:literal)*) => {
        /// The method of a request.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $($(#[$doc])* $name,)*
            /// Any other token.
            Other(Box<str>),
        }

        impl Method {
            /// Reads a token; `None` when it is none.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => scan::is_token(text).then(|| Self::Other(text.into())),
                }
            }

            /// The token.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }
    };
}

methods! {
    /// RFC 3261 section 13.
    Invite "INVITE"
    /// RFC 3261 section 13.
    Ack "ACK"
    /// RFC 3261 section 15.
    Bye "BYE"
    /// RFC 3261 section 9.
    Cancel "CANCEL"
    /// RFC 3261 section 11.
    Options "OPTIONS"
    /// RFC 3261 section 10.
    Register "REGISTER"
    /// RFC 6086.
    Info "INFO"
    /// RFC 3262.
    Prack "PRACK"
    /// RFC 3311.
    Update "UPDATE"
    /// RFC 6665.
    Subscribe "SUBSCRIBE"
    /// RFC 6665.
    Notify "NOTIFY"
    /// RFC 3515.
    Refer "REFER"
    /// RFC 3428.
    Message "MESSAGE"
    /// RFC 3903.
    Publish "PUBLISH"
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
