//! PTX modules, loaded once per context and only those that are used; and the one call of `cuLaunchKernel`.
//! Enters: a kernel, a grid and parameters; leaves: a launch, noted in [`crate::tally`].
#![allow(unsafe_code, reason = "modules, functions and kernel parameters are raw")]

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::driver::{DriverError, result, sys};

use super::error::LaunchError;
use crate::kernel::{Kernel, PER_DTYPE};
use crate::tally;

/// Dynamic shared memory that every device grants without being asked, in bytes, less what the kernels declare.
const PLAIN_SHARED_BYTES: u32 = 44 * 1024;

macro_rules! ptx {
    ($name:literal) => {
        [
            concat!(include_str!(concat!("../../ptx/", $name, "_f16.ptx")), "\0"),
            concat!(include_str!(concat!("../../ptx/", $name, "_bf16.ptx")), "\0"),
            concat!(include_str!(concat!("../../ptx/", $name, "_f32.ptx")), "\0"),
        ]
    };
}

/// By source, then by element type; each ends with a NUL, as `cuModuleLoadData` wants it.
static PTX: [[&str; 3]; 4] =
    [ptx!("paged_attention_v1"), ptx!("paged_attention_v2"), ptx!("cache"), ptx!("dense")];

/// A kernel's function in one context.
struct Function {
    raw: usize,
    /// Dynamic shared memory it has been allowed, bytes.
    shared_bytes: AtomicU32,
}

/// What is loaded in one context. Never freed: a thread may hold a reference; one per context, a few kilobytes.
struct Loaded {
    context: usize,
    alive: AtomicBool,
    modules: [[OnceLock<usize>; 3]; 4],
    functions: [OnceLock<Function>; Kernel::COUNT],
    loading: Mutex<()>,
}

static CONTEXTS: Mutex<Vec<&'static Loaded>> = Mutex::new(Vec::new());

thread_local! {
    static CURRENT: Cell<Option<&'static Loaded>> = const { Cell::new(None) };
}

/// Addresses of values, as `cuLaunchKernel` takes parameters. Values that are temporaries live only to the end of
/// the enclosing statement: the macro stands inside the call of [`launch`], never in a `let`.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &mut [$(std::ptr::from_ref(&$value).cast_mut().cast::<std::ffi::c_void>()),*]
    };
}
pub(super) use params;

/// Blocks and threads of a launch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) grid: [u32; 3],
    pub(super) threads: u32,
    pub(super) shared_bytes: u32,
}

/// Loads kernels into the current context, so that their first launch does not have to.
///
/// # Errors
/// What the driver returned.
pub fn preload(kernels: impl IntoIterator<Item = Kernel>) -> Result<(), LaunchError> {
    let loaded = current()?;
    kernels.into_iter().try_for_each(|kernel| loaded.function(kernel).map(|_| ()))
}

/// Launches `kernel` in the current context.
///
/// # Safety
/// The parameters are those of the kernel, and their pointers are valid for it until it has run.
pub(super) unsafe fn launch(
    kernel: Kernel,
    shape: Shape,
    stream: sys::CUstream,
    params: &mut [*mut c_void],
) -> Result<(), LaunchError> {
    let function = current()?.function(kernel)?;
    function.allow_shared(shape.shared_bytes)?;
    let [x, y, z] = shape.grid;
    // SAFETY: the function is of the current context; the caller vouches for the parameters.
    unsafe {
        result::launch_kernel(
            function.raw as sys::CUfunction,
            (x, y, z),
            (shape.threads, 1, 1),
            shape.shared_bytes,
            stream,
            params,
        )
    }
    .map_err(LaunchError::driver("cuLaunchKernel"))?;
    tally::note(|tally| {
        tally.launch(kernel, 1);
        tally.launch_calls += 1;
    });
    Ok(())
}

/// Unloads what is loaded in `context`, which must be current.
pub(super) fn unload(context: sys::CUcontext) {
    let mut contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    contexts.retain(|loaded| {
        if loaded.context != context as usize {
            return true;
        }
        loaded.alive.store(false, Ordering::Release);
        for module in loaded.modules.iter().flatten().filter_map(OnceLock::get) {
            // SAFETY: loaded in this context, unloaded once. A context that is gone has unloaded it already.
            let _: Result<(), DriverError> = unsafe { result::module::unload(*module as sys::CUmodule) };
        }
        false
    });
}

/// What is loaded in the calling thread's current context.
fn current() -> Result<&'static Loaded, LaunchError> {
    let context = result::ctx::get_current().map_err(LaunchError::driver("cuCtxGetCurrent"))?.ok_or(
        LaunchError::Driver {
            call: "cuCtxGetCurrent",
            source: DriverError(sys::CUresult::CUDA_ERROR_INVALID_CONTEXT),
        },
    )? as usize;
    if let Some(loaded) = CURRENT.get()
        && loaded.context == context
        && loaded.alive.load(Ordering::Acquire)
    {
        return Ok(loaded);
    }
    let mut contexts = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = contexts.iter().copied().find(|loaded| loaded.context == context);
    let loaded = known.unwrap_or_else(|| {
        let loaded: &'static Loaded = Box::leak(Box::new(Loaded::new(context)));
        contexts.push(loaded);
        loaded
    });
    CURRENT.set(Some(loaded));
    Ok(loaded)
}

impl Loaded {
    fn new(context: usize) -> Self {
        Self {
            context,
            alive: AtomicBool::new(true),
            modules: Default::default(),
            functions: std::array::from_fn(|_| OnceLock::new()),
            loading: Mutex::new(()),
        }
    }

    fn function(&self, kernel: Kernel) -> Result<&Function, LaunchError> {
        let missing = || LaunchError::Unsupported { entry: kernel.name(), reason: "not in the table".into() };
        let slot = self.functions.get(kernel.index()).ok_or_else(missing)?;
        if let Some(function) = slot.get() {
            return Ok(function);
        }
        let _loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = slot.get() {
            return Ok(function);
        }
        let module = self.module(kernel).ok_or_else(missing)??;
        let name = CString::new(kernel.name()).unwrap_or_default();
        // SAFETY: the module is loaded in the current context.
        let raw = unsafe { result::module::get_function(module, name) }
            .map_err(LaunchError::driver("cuModuleGetFunction"))? as usize;
        Ok(slot.get_or_init(|| Function { raw, shared_bytes: AtomicU32::new(PLAIN_SHARED_BYTES) }))
    }

    fn module(&self, kernel: Kernel) -> Option<Result<sys::CUmodule, LaunchError>> {
        let (dtype, offset) = (kernel.index() / PER_DTYPE, kernel.index() % PER_DTYPE);
        let source = match offset {
            0..6 => 0,
            6..15 => 1,
            15..18 => 2,
            _ => 3,
        };
        let slot = self.modules.get(source)?.get(dtype)?;
        if let Some(module) = slot.get() {
            return Some(Ok(*module as sys::CUmodule));
        }
        let image = PTX.get(source)?.get(dtype)?;
        // SAFETY: the image is PTX and ends with a NUL.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) }
            .map_err(LaunchError::driver("cuModuleLoadData"));
        Some(module.inspect(|module| {
            slot.get_or_init(|| *module as usize);
        }))
    }
}

impl Function {
    /// Asks for more dynamic shared memory than devices grant by default, where a launch needs it.
    fn allow_shared(&self, bytes: u32) -> Result<(), LaunchError> {
        if bytes <= self.shared_bytes.load(Ordering::Relaxed) {
            return Ok(());
        }
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function is of a live context.
        unsafe {
            result::function::set_function_attribute(self.raw as sys::CUfunction, attribute, bytes as i32)
        }
        .map_err(LaunchError::driver("cuFuncSetAttribute"))?;
        self.shared_bytes.fetch_max(bytes, Ordering::Relaxed);
        Ok(())
    }
}
