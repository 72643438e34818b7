//! Names of header fields: full, compact, in any case (RFC 3261 section 7.3).

macro_rules! names {
    ($($name:ident $text:literal $lower:literal $($compact:literal)?;)*) => {
        /// The name of a header field that Vizard reads or writes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Name {
            $(
                #[doc = concat!("`", $text, "`")]
                $name,
            )*
            /// Any other.
            Other,
        }

        impl Name {
            /// The full form; empty for [`Name::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other => "",
                }
            }

            fn of_lower(lower: &[u8]) -> Self {
                match lower {
                    $($lower $(| $compact)? => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

names! {
    Accept "Accept" b"accept";
    Allow "Allow" b"allow";
    AllowEvents "Allow-Events" b"allow-events" b"u";
    Authorization "Authorization" b"authorization";
    CallId "Call-ID" b"call-id" b"i";
    Contact "Contact" b"contact" b"m";
    ContentDisposition "Content-Disposition" b"content-disposition";
    ContentEncoding "Content-Encoding" b"content-encoding" b"e";
    ContentLength "Content-Length" b"content-length" b"l";
    ContentType "Content-Type" b"content-type" b"c";
    CSeq "CSeq" b"cseq";
    Date "Date" b"date";
    Diversion "Diversion" b"diversion";
    Event "Event" b"event" b"o";
    Expires "Expires" b"expires";
    From "From" b"from" b"f";
    Geolocation "Geolocation" b"geolocation";
    GeolocationError "Geolocation-Error" b"geolocation-error";
    GeolocationRouting "Geolocation-Routing" b"geolocation-routing";
    HistoryInfo "History-Info" b"history-info";
    Identity "Identity" b"identity" b"y";
    InfoPackage "Info-Package" b"info-package";
    MaxForwards "Max-Forwards" b"max-forwards";
    MinSe "Min-SE" b"min-se";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    Privacy "Privacy" b"privacy";
    ProxyAuthenticate "Proxy-Authenticate" b"proxy-authenticate";
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    ProxyRequire "Proxy-Require" b"proxy-require";
    RAck "RAck" b"rack";
    Reason "Reason" b"reason";
    RecvInfo "Recv-Info" b"recv-info";
    RecordRoute "Record-Route" b"record-route";
    ReferTo "Refer-To" b"refer-to" b"r";
    ReferredBy "Referred-By" b"referred-by" b"b";
    RemotePartyId "Remote-Party-ID" b"remote-party-id";
    Replaces "Replaces" b"replaces";
    Require "Require" b"require";
    RetryAfter "Retry-After" b"retry-after";
    Route "Route" b"route";
    RSeq "RSeq" b"rseq";
    Server "Server" b"server";
    SessionExpires "Session-Expires" b"session-expires" b"x";
    Subject "Subject" b"subject" b"s";
    Supported "Supported" b"supported" b"k";
    Timestamp "Timestamp" b"timestamp";
    To "To" b"to" b"t";
    Unsupported "Unsupported" b"unsupported";
    UserAgent "User-Agent" b"user-agent";
    Via "Via" b"via" b"v";
    VizardBinding "X-Vizard-Binding" b"x-vizard-binding";
    VizardCase "X-Vizard-Case" b"x-vizard-case";
    VizardKind "X-Vizard-Kind" b"x-vizard-kind";
    VizardMatch "X-Vizard-Match" b"x-vizard-match";
    VizardReason "X-Vizard-Reason" b"x-vizard-reason";
    VizardSession "X-Vizard-Session" b"x-vizard-session";
    VizardTenant "X-Vizard-Tenant" b"x-vizard-tenant";
    Warning "Warning" b"warning";
    WwwAuthenticate "WWW-Authenticate" b"www-authenticate";
}

/// As long as the longest name above.
const LONGEST: usize = 20;

impl Name {
    /// Recognises a name in any case, compact forms included.
    #[must_use]
    pub fn recognise(text: &str) -> Self {
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..text.len()) else { return Self::Other };
        for (low, byte) in lower.iter_mut().zip(text.bytes()) {
            *low = byte.to_ascii_lowercase();
        }
        Self::of_lower(lower)
    }

    /// Whether a message may hold it once at most, because what the message
    /// belongs to would be ambiguous otherwise.
    pub(super) const fn is_singular(self) -> bool {
        matches!(
            self,
            Self::From | Self::To | Self::CallId | Self::CSeq | Self::MaxForwards | Self::ContentLength
        )
    }
}
