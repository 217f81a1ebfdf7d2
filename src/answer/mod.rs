//! What the edge answers by itself: fixed responses, redirects, errors. Bodies are at most 64 KiB.
pub mod error;
pub mod grpc;
pub mod redirect;
pub mod respond;
pub use redirect::{RedirectConfig, RedirectRule};
pub use respond::{BODY_FILE_BYTES_MAX, RespondConfig, RespondRule};
