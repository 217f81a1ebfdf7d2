//! A result for people and for programs: text, JSON, CSV, a page, and the line that is live while a run is under way.
//!
//! Everything here is made from a [`crate::record::Outcome`] alone, so that a report of a result that was written down
//! is the same as the report of the run. Words that came from outside (URLs, reasons, the command line) are hostile: they
//! may neither move a terminal's cursor nor end an attribute of the page.
pub mod csv;
pub mod env;
mod facts;
pub mod html;
pub mod json;
mod plot;
pub mod progress;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;
pub mod units;
