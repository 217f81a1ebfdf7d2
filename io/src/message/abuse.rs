//! The kinds of abuse that an engine counts: their list is each protocol's own, what can be done with it is the same.

/// Declares `Abuse`, one variant for each limit that a peer can exceed, in the order of their labels, and `AbuseCounts`.
/// `HeadBytes` and `HeadFields` must be among them: those are what [`Excess`](crate::message::Excess) tells.
#[macro_export]
macro_rules! abuses {
    ($($(#[doc = $doc:literal])+ $kind:ident = $text:literal,)*) => {
        /// Which limit a peer exceeded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Abuse {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl Abuse {
            /// Every kind, in the order of their discriminants.
            pub const ALL: &'static [Abuse] = &[$(Abuse::$kind,)*];

            /// A label for metrics, and the detail of the error that ends the connection.
            pub const fn as_str(self) -> &'static str {
                match self { $(Abuse::$kind => $text,)* }
            }
        }

        impl From<$crate::message::Excess> for Abuse {
            fn from(excess: $crate::message::Excess) -> Abuse {
                match excess {
                    $crate::message::Excess::Bytes => Abuse::HeadBytes,
                    $crate::message::Excess::Fields => Abuse::HeadFields,
                }
            }
        }

        /// How often each kind of abuse was met: index by `Abuse as usize`.
        pub type AbuseCounts = [u32; Abuse::ALL.len()];
    };
}

#[cfg(test)]
mod tests {
    abuses! {
        /// One.
        HeadBytes = "head_bytes",
        /// Another.
        HeadFields = "head_fields",
    }

    #[test]
    fn kinds_have_their_discriminants_and_names() {
        for (i, kind) in Abuse::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, i);
        }
        let names: Vec<_> = Abuse::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names, ["head_bytes", "head_fields"]);
        assert_eq!(AbuseCounts::default(), [0, 0]);
    }
}
