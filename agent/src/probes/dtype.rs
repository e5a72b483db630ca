//! Element types of tensors.
//!
//! Enters: names. Leaves: their one spelling, and sizes. Refuses: a name that is not in the table.
//!
//! Quantised types are made of blocks; their sizes are ggml's (`ggml-common.h`).

/// An element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dtype {
    /// As in the attribute and the log field `dtype`.
    pub(super) name: &'static str,
    /// Elements of a block.
    pub(super) block_elements: u64,
    /// Bytes of a block.
    pub(super) block_bytes: u64,
}

impl Dtype {
    /// Bytes of so many elements; none where they are no whole blocks, or past 64 bits.
    pub(super) fn size_bytes(&self, elements: u64) -> Option<u64> {
        let whole = elements.is_multiple_of(self.block_elements);
        (elements / self.block_elements).checked_mul(self.block_bytes).filter(|_| whole)
    }
}

/// The type of a name.
pub(super) fn find(name: &str) -> Option<&'static Dtype> {
    ALL.iter().find(|dtype| dtype.name == name)
}

macro_rules! dtypes {
    ($($name:literal $elements:literal $bytes:literal)*) => {
        /// All element types.
        pub(super) const ALL: &[Dtype] =
            &[$(Dtype { name: $name, block_elements: $elements, block_bytes: $bytes }),*];
    };
}

dtypes! {
    "f64" 1 8 "f32" 1 4 "f16" 1 2 "bf16" 1 2
    "f8_e4m3" 1 1 "f8_e5m2" 1 1 "f8_e4m3fnuz" 1 1 "f8_e5m2fnuz" 1 1 "f8_e8m0" 1 1 "f4_e2m1x2" 1 1
    "i64" 1 8 "i32" 1 4 "i16" 1 2 "i8" 1 1 "u64" 1 8 "u32" 1 4 "u16" 1 2 "u8" 1 1 "bool" 1 1
    "c32" 1 4 "c64" 1 8 "c128" 1 16 "qi8" 1 1 "qu8" 1 1 "qi32" 1 4
    "q4_0" 32 18 "q4_1" 32 20 "q5_0" 32 22 "q5_1" 32 24 "q8_0" 32 34 "q8_1" 32 36
    "q2_k" 256 84 "q3_k" 256 110 "q4_k" 256 144 "q5_k" 256 176 "q6_k" 256 210 "q8_k" 256 292
    "iq1_s" 256 50 "iq1_m" 256 56 "iq2_xxs" 256 66 "iq2_xs" 256 74 "iq2_s" 256 82 "iq3_xxs" 256 98
    "iq3_s" 256 110 "iq4_nl" 32 18 "iq4_xs" 256 136 "tq1_0" 256 54 "tq2_0" 256 66 "mxfp4" 32 17
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_there_once() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|dtype| dtype.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn sizes_count_whole_blocks() {
        assert_eq!(find("bf16").unwrap().size_bytes(6), Some(12));
        assert_eq!(find("q4_k").unwrap().size_bytes(512), Some(288));
        assert_eq!(find("q4_k").unwrap().size_bytes(100), None);
        assert_eq!(find("f64").unwrap().size_bytes(u64::MAX / 4), None);
        assert_eq!(find("half"), None);
    }
}
