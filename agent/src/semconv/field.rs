//! Names of a call's values that instruments are made of, as probe specifications give them.
//!
//! Enters: nothing. Leaves: constants. Refuses: any other name a meaning: it is shown in the JSON log and counts nothing.

/// Tokens of the call: `engine.op.tokens`.
pub const TOKENS: &str = "n_tokens";
/// Bytes that the call moves, loads or allocates: `engine.op.bytes`. Of CUDA's functions that allocate, the size.
pub const SIZE_BYTES: &str = "size_bytes";
/// Blocks that a look-up asks for: with [`BLOCKS_HIT`], `engine.cache.blocks`.
pub const BLOCKS: &str = "n_blocks";
/// Blocks that it found.
pub const BLOCKS_HIT: &str = "n_blocks_hit";
/// Whether the call failed (true, or a number that is not 0): `engine.op.failures`.
pub const FAILED: &str = "failed";
/// What a function of CUDA returned: `gpu.errors`.
pub const STATUS: &str = "status";
/// What a function of CUDA allocated or frees: `gpu.memory.usage`.
pub const ADDRESS: &str = "address";
