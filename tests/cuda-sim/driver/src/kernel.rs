//! Kernel launches. Enters: a function, its grid and its parameters. Leaves: the launch with its parameters copied,
//! run on the stream's thread. Refuses: grids and shared memory that the device does not have, missing parameters.
#![allow(unsafe_code, reason = "copies kernel parameters from raw pointers")]

use core::ffi::c_void;
use std::time::Duration;

use cuda_sim_abi::config::{Clock, Compute};
use cuda_sim_abi::{Activity, activity};
use gpu_agent_kernels_cpu::device::Launch;

use crate::clock::{now_ns, pass_until};
use crate::device::{SHARED_PER_BLOCK, THREADS_PER_BLOCK};
use crate::error::{Error, Outcome};
use crate::known::Known;
use crate::module::Function;
use crate::state::config;
use crate::stream::Stream;
use crate::work::Trace;
use crate::{hooks, memory};

/// Words of a parameter block that need no allocation.
const INLINE_WORDS: usize = 24;

/// One launch.
pub(crate) struct Kernel {
    function: &'static Function,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared_bytes: u32,
    parameters: Parameters,
}

/// The parameter block as the device would see it.
enum Parameters {
    Inline([u64; INLINE_WORDS]),
    Spilled(Box<[u64]>),
}

/// Where a launch's parameters stand: `kernelParams` and `extra` of `cuLaunchKernel`.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// One pointer a parameter.
    pub(crate) each: *const *mut c_void,
    /// `CU_LAUNCH_PARAM_*` list.
    pub(crate) extra: *const *mut c_void,
}

impl Kernel {
    /// Checks a launch and copies its parameters.
    pub(crate) fn new(
        function: &'static Function,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared_bytes: u32,
        source: Source,
    ) -> Outcome<Self> {
        let threads = block.iter().try_fold(1_u32, |product, size| product.checked_mul(*size));
        let is_empty = grid.contains(&0) || block.contains(&0);
        if is_empty
            || threads.is_none_or(|threads| threads > THREADS_PER_BLOCK)
            || grid[1].max(grid[2]) > 65535
        {
            return Err(Error::INVALID_VALUE);
        }
        let allowed = function.max_dynamic_shared_bytes().max(SHARED_PER_BLOCK);
        if dynamic_shared_bytes.saturating_add(function.static_shared_bytes) > allowed {
            return Err(Error::INVALID_VALUE);
        }
        let mut parameters = Parameters::new(function.parameter_bytes);
        if function.parameter_bytes > 0 {
            // SAFETY: the program vouches for its kernel parameters, as for the real driver.
            unsafe { parameters.copy(function, source)? };
        }
        Ok(Self { function, grid, block, dynamic_shared_bytes, parameters })
    }

    /// Whether running it computes its result.
    pub(crate) fn computes(&self) -> bool {
        self.function.known.is_some() && config().compute != Compute::Off
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.grid.iter().map(|size| u64::from(*size)).product()
    }

    /// Fills the fields of its record.
    pub(crate) fn describe(&self, record: &mut Activity) {
        record.kind = activity::KERNEL;
        record.name = self.function.name.as_ptr();
        record.grid = self.grid;
        record.block = self.block;
        record.registers = self.function.registers;
        record.static_shared_bytes = self.function.static_shared_bytes;
        record.dynamic_shared_bytes = self.dynamic_shared_bytes;
        record.computed = u32::from(self.computes());
    }

    /// Runs it, or lets its time pass.
    pub(crate) fn run(&self, stream: &'static Stream, trace: Trace) {
        let config = config();
        let modelled_ns = modelled_ns(stream);
        let (start_ns, mut end_ns) = stream.lay_out(modelled_ns);
        match self.function.known.filter(|_| config.compute != Compute::Off) {
            Some(known) => {
                if let Err(error) = self.compute(known) {
                    stream.context.poison(error);
                }
                if config.compute == Compute::On {
                    end_ns = now_ns().max(start_ns + 1);
                }
            }
            None => {
                self.function.say_once_that_it_is_not_computed();
                pass_until(end_ns, config.clock);
                if config.clock != Clock::Virtual {
                    end_ns = end_ns.max(now_ns());
                }
            }
        }
        stream.ended_at(end_ns);
        if trace.sequence != 0 {
            let mut record = crate::work::blank(stream, trace);
            self.describe(&mut record);
            (record.start_ns, record.end_ns) = (start_ns, end_ns);
            hooks::activity(&record);
        }
    }

    fn compute(&self, known: Known) -> Outcome {
        let words = self.parameters.words();
        for parameter in self.function.parameters.iter().filter(|parameter| parameter.size == 8) {
            if words.get(parameter.offset / 8).is_some_and(|word| !memory::plausible(*word)) {
                return Err(Error::ILLEGAL_ADDRESS);
            }
        }
        let base = words.as_ptr().cast::<u8>();
        let pointers: Vec<*const c_void> = self
            .function
            .parameters
            .iter()
            .map(|parameter| base.wrapping_add(parameter.offset).cast())
            .collect();
        let launch = Launch {
            grid: self.grid,
            block: self.block,
            dynamic_shared_bytes: self.dynamic_shared_bytes,
            params: &pointers,
        };
        // SAFETY: one pointer to a copied value per parameter, of the sizes that the kernel declares; the program
        // vouches for the values, of which those that cannot be addresses were refused above.
        unsafe { known.run(&launch, self.function.module) }
    }
}

impl Parameters {
    fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(8);
        if words <= INLINE_WORDS {
            Self::Inline([0; INLINE_WORDS])
        } else {
            Self::Spilled(vec![0; words].into())
        }
    }

    fn words(&self) -> &[u64] {
        match self {
            Self::Inline(words) => words,
            Self::Spilled(words) => words,
        }
    }

    /// Copies the values.
    ///
    /// # Safety
    /// `source` holds what the function's declaration says.
    #[inline]
    unsafe fn copy(&mut self, function: &Function, source: Source) -> Outcome {
        let to = match self {
            Self::Inline(words) => words.as_mut_ptr(),
            Self::Spilled(words) => words.as_mut_ptr(),
        };
        let to = to.cast::<u8>();
        if source.each.is_null() {
            // SAFETY: by this function's contract.
            let (from, bytes) = unsafe { packed(source.extra)? };
            // SAFETY: `to` has room for `parameter_bytes`, `from` holds `bytes`.
            unsafe { std::ptr::copy_nonoverlapping(from, to, bytes.min(function.parameter_bytes)) };
            return Ok(());
        }
        for (index, parameter) in function.parameters.iter().enumerate() {
            // SAFETY: one pointer per declared parameter.
            let from = unsafe { source.each.add(index).read() };
            if from.is_null() {
                return Err(Error::INVALID_VALUE);
            }
            // SAFETY: the pointer leads to a value of the declared size; the block has room for it.
            unsafe { std::ptr::copy_nonoverlapping(from.cast(), to.add(parameter.offset), parameter.size) };
        }
        Ok(())
    }
}

/// Pointer and size of a packed parameter block in an `extra` list (`CU_LAUNCH_PARAM_BUFFER_POINTER` 1,
/// `CU_LAUNCH_PARAM_BUFFER_SIZE` 2, `CU_LAUNCH_PARAM_END` 0).
///
/// # Safety
/// NULL, or a list that ends with `CU_LAUNCH_PARAM_END`.
unsafe fn packed(extra: *const *mut c_void) -> Outcome<(*const u8, usize)> {
    let (mut block, mut bytes) = (std::ptr::null::<u8>(), None);
    let mut next = extra;
    while !next.is_null() {
        // SAFETY: the list has not ended, so key and value stand there.
        let (key, value) = unsafe { (next.read().addr(), next.add(1)) };
        match key {
            0 => break,
            // SAFETY: as above.
            1 => block = unsafe { value.read() }.cast(),
            // SAFETY: the value of this key points to a size_t.
            2 => bytes = unsafe { value.read().cast::<usize>().as_ref() }.copied(),
            _ => return Err(Error::INVALID_VALUE),
        }
        next = value.wrapping_add(1);
    }
    bytes.filter(|_| !block.is_null()).map(|bytes| (block, bytes)).ok_or(Error::INVALID_VALUE)
}

/// How long the next kernel of `stream` takes that is not computed: `kernel_us`, varied by `kernel_jitter`.
fn modelled_ns(stream: &Stream) -> u64 {
    let config = config();
    let time = Duration::from_nanos((config.kernel_us * 1e3) as u64);
    if config.kernel_jitter_percent == 0 {
        return time.as_nanos() as u64;
    }
    let draw = scramble(config.seed ^ u64::from(stream.id) << 40 ^ stream.turn()) as f64 / u64::MAX as f64;
    let spread = f64::from(config.kernel_jitter_percent) / 100.0;
    time.mul_f64(1.0 + spread * (2.0 * draw - 1.0)).as_nanos() as u64
}

/// The output function of SplitMix64.
fn scramble(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
