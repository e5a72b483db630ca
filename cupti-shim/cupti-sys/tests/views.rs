//! The views on arbitrary bytes: total, and reading what lies there.

use cupti_sys::record::{
    Api, Context, Device, ExternalCorrelation, GraphTrace, Kernel, Memcpy, MemcpyKind, MemcpyPtoP, Memory,
    MemoryKind, Memset, Overhead, Stream, Synchronization,
};
use cupti_sys::{ActivityKind, ApiVersion, RecordSizes};
use proptest::prelude::{any, proptest};

/// Makes each view of `bytes` and reads all of it, by way of its `Debug`, and the fields that ask for a version.
fn read_everything(bytes: &[u8], version: ApiVersion) {
    macro_rules! read_with {
        ($($view:ident $(+ $since:ident)*),*) => {$(
            if let Some(view) = $view::new(bytes) {
                assert!(bytes.len() >= $view::MIN_LEN);
                assert!(format!("{view:?}").starts_with(stringify!($view)));
                $(let _ = view.$since(version);)*
            } else {
                assert!(bytes.len() < $view::MIN_LEN);
            }
        )*};
    }
    read_with!(
        Api,
        Context + multiprocessors,
        Device,
        ExternalCorrelation,
        GraphTrace,
        Kernel,
        Memcpy + is_device_launched,
        MemcpyPtoP,
        Memory,
        Memset + is_device_launched,
        Overhead,
        Stream,
        Synchronization
    );
}

proptest! {
    #[test]
    fn no_bytes_of_any_length_make_a_view_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        version in any::<u32>(),
    ) {
        read_everything(&bytes, ApiVersion(version));
    }

    #[test]
    fn a_cut_never_gives_more_than_there_was(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        kind in any::<u32>(),
        version in any::<u32>(),
    ) {
        if let Some(sizes) = RecordSizes::for_version(ApiVersion(version)) {
            assert!(bytes.starts_with(sizes.cut(ActivityKind(kind), &bytes)));
            for kind in ActivityKind::NAMED {
                assert!(bytes.starts_with(sizes.cut(*kind, &bytes)));
            }
        }
    }

    #[test]
    fn a_kernel_reads_what_lies_at_the_offsets_of_the_header(bytes in proptest::array::uniform32(any::<u64>())) {
        let bytes: Vec<u8> = bytes.iter().flat_map(|word| word.to_le_bytes()).collect();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let kernel = Kernel::new(&bytes).unwrap();
        assert_eq!(kernel.start_ns(), u64_at(16));
        assert_eq!(kernel.end_ns(), u64_at(24));
        assert_eq!(kernel.correlation_id(), u32_at(92));
        assert_eq!(kernel.name_address(), u64_at(104));
        assert_eq!(kernel.graph_node_id(), Some(u64_at(144)));
        assert_eq!(kernel.graph_id(), Some(u32_at(156)));
        assert_eq!(kernel.launch_type().0, u32::from(bytes[136]));
    }
}

#[test]
fn a_kernel_record_shorter_than_kernel4_is_refused() {
    assert!(Kernel::new(&[0; 143]).is_none());
    assert!(Kernel::new(&[0; 144]).is_some());
}

#[test]
fn a_late_field_is_absent_where_the_record_ends_before_it() {
    let bytes = [0xff; 248];
    let kernel = |size| Kernel::new(&bytes[..size]).unwrap();
    assert_eq!(kernel(144).graph_node_id(), None);
    assert_eq!(kernel(208).graph_node_id(), Some(u64::MAX));
    assert_eq!(kernel(208).is_device_launched(), None);
    assert_eq!(kernel(216).is_device_launched(), Some(true));
    assert_eq!(kernel(216).priority(), None);
    assert_eq!(kernel(224).priority(), Some(-1));
    assert_eq!(kernel(240).source_graph_node_id(), None);
    assert_eq!(kernel(248).source_graph_node_id(), Some(u64::MAX));
}

#[test]
fn padding_is_not_taken_for_the_field_that_replaced_it() {
    let bytes = [1; 96];
    let memcpy = Memcpy::new(&bytes).unwrap();
    assert_eq!(memcpy.is_device_launched(ApiVersion::V12_9), None);
    assert_eq!(memcpy.is_device_launched(ApiVersion::V13_0), Some(true));
    let memset = Memset::new(&bytes).unwrap();
    assert_eq!(memset.is_device_launched(ApiVersion::V12_9), None);
    assert_eq!(memset.is_device_launched(ApiVersion::V13_0), Some(true));
    let context = Context::new(&bytes[..24]).unwrap();
    assert_eq!(context.multiprocessors(ApiVersion::V12_4), None);
    assert_eq!(context.multiprocessors(ApiVersion::V12_5), Some(0x0101));
}

#[test]
fn numbers_of_enums_get_names_and_unknown_ones_survive() {
    let mut bytes = [0; 88];
    bytes[4..8].copy_from_slice(&[2, 3, 200, 1]);
    let memcpy = Memcpy::new(&bytes).unwrap();
    assert_eq!(memcpy.copy_kind(), MemcpyKind::DTOH);
    assert_eq!(memcpy.src_kind(), MemoryKind::DEVICE);
    assert_eq!(memcpy.dst_kind(), MemoryKind(200));
    assert_eq!(memcpy.dst_kind().name(), None);
    assert!(memcpy.is_async());
}
