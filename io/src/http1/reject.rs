//! Why a message is refused: one variant for each misdeed.

/// What is wrong with a message. The connection that it came from cannot be used further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reject {
    /// A line ends in LF without CR.
    BareLf,
    /// A CR is not followed by LF.
    BareCr,
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The method is empty or not a token.
    BadMethod,
    /// The request target has none of the four forms, or a byte that no target may have.
    BadTarget,
    /// The path has a `%` that two hexadecimal digits do not follow.
    BadPercentEncoding,
    /// The path has `%00`.
    NulInPath,
    /// The version is not `HTTP/` digit `.` digit.
    BadVersion,
    /// The version is neither 1.0 nor 1.1.
    UnsupportedVersion,
    /// The request line is longer than the limit.
    RequestLineTooLong,
    /// The status line is not `version SP 3DIGIT [SP reason]`, or its status not in 100 to 599.
    BadStatusLine,
    /// The status line is longer than the limit.
    StatusLineTooLong,
    /// Whitespace before the first field line.
    LeadingWhitespace,
    /// A line that continues the one before it (obs-fold).
    ObsFold,
    /// A field line without a name.
    EmptyName,
    /// A field name that is not a token, or a line without a colon.
    BadName,
    /// Whitespace between a field name and its colon.
    WhitespaceBeforeColon,
    /// A request's field name with `_`.
    UnderscoreInName,
    /// A control character in a field value or a reason phrase.
    ControlInValue,
    /// A field line is longer than the limit.
    FieldTooLong,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// More fields than the limit.
    TooManyFields,
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// More than one `Host`.
    RepeatedHost,
    /// `Host`, or the authority of the target, is not `host[:port]`.
    BadHost,
    /// `Host` differs from the authority of an absolute-form target.
    HostMismatch,
    /// The method is CONNECT.
    ConnectRefused,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndEncoding,
    /// More than one `Content-Length`, even with equal values.
    RepeatedLength,
    /// `Content-Length` is not a decimal number below 2^63 of at most 19 digits.
    BadLength,
    /// `Transfer-Encoding` is more than one, or anything but one final `chunked`.
    BadEncoding,
    /// `Transfer-Encoding` names a coding that is not implemented.
    UnknownEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    EncodingInHttp10,
    /// `Expect` is not `100-continue`.
    UnknownExpectation,
    /// A response that has no body by its status, yet announces one.
    BodyNotAllowed,
    /// A 101 that nobody asked for.
    UnexpectedUpgrade,
    /// A chunk-size line without a size, with more than 16 digits, or with a byte that may not stand there.
    BadChunkSize,
    /// A chunk extension that breaks the grammar.
    BadChunkExtension,
    /// A chunk-size line longer than the limit.
    ChunkLineTooLong,
    /// Chunk extensions outweigh the data they come with.
    ChunkOverhead,
    /// No CRLF behind a chunk's data.
    BadChunkEnd,
    /// The trailer section is larger than the limit.
    TrailersTooLarge,
    /// The peer closed inside a message.
    Truncated,
}

impl Reject {
    /// The status that answers a request with this fault. A response with any of them is a 502 of its sender.
    pub const fn status(self) -> u16 {
        match self {
            Reject::RequestLineTooLong => 414,
            Reject::FieldTooLong | Reject::HeadTooLarge | Reject::TooManyFields | Reject::TrailersTooLarge => 431,
            Reject::ConnectRefused => 405,
            Reject::UnknownExpectation => 417,
            Reject::UnknownEncoding => 501,
            Reject::UnsupportedVersion => 505,
            Reject::BadStatusLine | Reject::StatusLineTooLong | Reject::BodyNotAllowed | Reject::UnexpectedUpgrade => {
                502
            }
            _ => 400,
        }
    }

    /// What is wrong, in a few words for a log; never bytes of the message.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reject::BareLf => "LF without CR",
            Reject::BareCr => "CR without LF",
            Reject::BadRequestLine => "malformed request line",
            Reject::BadMethod => "malformed method",
            Reject::BadTarget => "malformed request target",
            Reject::BadPercentEncoding => "malformed percent-encoding in the path",
            Reject::NulInPath => "NUL in the path",
            Reject::BadVersion => "malformed version",
            Reject::UnsupportedVersion => "unsupported version",
            Reject::RequestLineTooLong => "request line too long",
            Reject::BadStatusLine => "malformed status line",
            Reject::StatusLineTooLong => "status line too long",
            Reject::LeadingWhitespace => "whitespace before the first field",
            Reject::ObsFold => "folded field line",
            Reject::EmptyName => "empty field name",
            Reject::BadName => "malformed field name",
            Reject::WhitespaceBeforeColon => "whitespace before a colon",
            Reject::UnderscoreInName => "underscore in a field name",
            Reject::ControlInValue => "control character in a field value",
            Reject::FieldTooLong => "field line too long",
            Reject::HeadTooLarge => "head too large",
            Reject::TooManyFields => "too many fields",
            Reject::MissingHost => "Host missing",
            Reject::RepeatedHost => "Host repeated",
            Reject::BadHost => "malformed Host",
            Reject::HostMismatch => "Host differs from the target",
            Reject::ConnectRefused => "CONNECT refused",
            Reject::LengthAndEncoding => "Content-Length with Transfer-Encoding",
            Reject::RepeatedLength => "Content-Length repeated",
            Reject::BadLength => "malformed Content-Length",
            Reject::BadEncoding => "malformed Transfer-Encoding",
            Reject::UnknownEncoding => "unknown transfer coding",
            Reject::EncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Reject::UnknownExpectation => "unknown expectation",
            Reject::BodyNotAllowed => "body where none is allowed",
            Reject::UnexpectedUpgrade => "upgrade that was not asked for",
            Reject::BadChunkSize => "malformed chunk size",
            Reject::BadChunkExtension => "malformed chunk extension",
            Reject::ChunkLineTooLong => "chunk line too long",
            Reject::ChunkOverhead => "chunk extensions outweigh the data",
            Reject::BadChunkEnd => "chunk data without CRLF",
            Reject::TrailersTooLarge => "trailers too large",
            Reject::Truncated => "closed inside a message",
        }
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Reject {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_whose_limit_or_whose_lack_it_is() {
        let cases = [
            (Reject::BareLf, 400),
            (Reject::LengthAndEncoding, 400),
            (Reject::ConnectRefused, 405),
            (Reject::RequestLineTooLong, 414),
            (Reject::UnknownExpectation, 417),
            (Reject::FieldTooLong, 431),
            (Reject::HeadTooLarge, 431),
            (Reject::TooManyFields, 431),
            (Reject::TrailersTooLarge, 431),
            (Reject::UnknownEncoding, 501),
            (Reject::BadStatusLine, 502),
            (Reject::UnexpectedUpgrade, 502),
            (Reject::UnsupportedVersion, 505),
        ];
        for (fault, status) in cases {
            assert_eq!(fault.status(), status, "{fault}");
        }
    }
}
