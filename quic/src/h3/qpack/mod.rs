//! QPACK (RFC 9204): field compression for HTTP/3. Bounded, and without an allocation per field.
