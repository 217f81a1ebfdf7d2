//! What the fuzz targets hold, for frames that are mostly right: where the bytes are cut changes nothing.
#[path = "../../../fuzz/fuzz_targets/h2_side.rs"]
mod h2_side;

use crate::simulation::any_frame;
use edge_io::http2::Role;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_nothing(
        frames in proptest::collection::vec(any_frame(), 0..40),
        mode in 0u8..8,
        server in any::<bool>(),
        sizes in proptest::collection::vec(prop_oneof![1usize..40, 1usize..5000], 1..20),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let bytes = [&[mode][..], &frames.concat()].concat();
        let whole = h2_side::run(role, &bytes, || usize::MAX);
        let mut sizes = sizes.into_iter().cycle();
        let pieces = h2_side::run(role, &bytes, || sizes.next().unwrap_or(1));
        prop_assert_eq!(whole.events, pieces.events);
        prop_assert!(whole.data == pieces.data);
        prop_assert_eq!(whole.fatal, pieces.fatal);
    }
}
