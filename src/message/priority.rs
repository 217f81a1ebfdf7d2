//! How much a request matters when there is not enough for all.

/// A class of requests. In every queue a higher one goes first, and when the edge cannot serve all, the lowest are
/// refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// What must get through: it is never shed.
    Critical,
    /// What nothing else is said of.
    #[default]
    Normal,
    /// What can be done later: it waits behind all others, and is shed first.
    Bulk,
}

impl Priority {
    /// All, from the highest; in the order of their discriminants.
    pub const ALL: [Priority; 3] = [Priority::Critical, Priority::Normal, Priority::Bulk];

    /// As the configuration and the metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Critical => "critical",
            Priority::Normal => "normal",
            Priority::Bulk => "bulk",
        }
    }
}
