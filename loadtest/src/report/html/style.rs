//! How the page looks, the little that moves in it, and what it may load: nothing.
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

/// The content security policy. Style and script are named by their digests, so that no other ones are obeyed.
pub fn policy() -> String {
    let digest = |of: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(of));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

/// Colours that can be told apart without red and green; each line also differs in form. Shades of the heat map change in
/// lightness all the way, so that they survive grey printing.
pub const STYLE: &str = include_str!("page.css");

/// Shows under a plot what is under the pointer or the finger. Without it the same text is a tooltip.
pub const SCRIPT: &str = include_str!("page.js");
