//! Modules, functions and variables. Enters: an image: PTX text, or a cubin or fatbin. Leaves: functions to launch
//! and addresses of variables. Refuses: images it cannot read (`INVALID_IMAGE`, `INVALID_PTX`), names that are not
//! there (`NOT_FOUND`). Of a binary image nothing is read; every function name is found in it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use cuda_sim_abi::config::Binary;

use crate::context::Context;
use crate::device::{SHARED_OPT_IN, THREADS_PER_BLOCK};
use crate::error::{Error, Outcome};
use crate::ffi::Handle;
use crate::known::{self, Known};
use crate::memory::{self, Block, Kind};
use crate::ptx::{self, Declarations, Parameter};
use crate::state::config;
use crate::sync::lock;
use crate::table::Table;

/// Live modules and libraries by handle.
pub(crate) static MODULES: Table<Module> = Table::new(4);
/// Functions, which are also kernels of libraries, by handle; they live as long as the process.
pub(crate) static FUNCTIONS: Table<Function> = Table::new(5);

/// A loaded image.
pub(crate) struct Module {
    declarations: Option<Declarations>,
    functions: Mutex<HashMap<String, Handle>>,
    variables: Mutex<HashMap<String, Arc<Block>>>,
}

/// One kernel of a module.
pub(crate) struct Function {
    /// Entry name.
    pub(crate) name: CString,
    /// Its module.
    pub(crate) module: &'static Module,
    /// Its parameters; empty where the image does not tell.
    pub(crate) parameters: Vec<Parameter>,
    /// Size of the parameter block, bytes.
    pub(crate) parameter_bytes: usize,
    /// What it computes, if that is known.
    pub(crate) known: Option<Known>,
    /// Registers per thread.
    pub(crate) registers: u32,
    /// Static shared memory of a block, bytes.
    pub(crate) static_shared_bytes: u32,
    max_dynamic_shared_bytes: AtomicU32,
    said: AtomicBool,
}

/// An image as `cuModuleLoadData` takes it.
pub(crate) enum Image<'a> {
    /// PTX text.
    Ptx(&'a str),
    /// A cubin or fatbin.
    Binary,
}

impl Module {
    /// Loads an image; its variables get memory of `context`.
    pub(crate) fn load(image: &Image<'_>, context: &Context) -> Outcome<Handle> {
        let declarations = match image {
            Image::Ptx(text) => Some(ptx::parse(text).ok_or(Error::INVALID_PTX)?),
            Image::Binary if config().binary == Binary::Accept => None,
            Image::Binary => return Err(Error::NO_BINARY_FOR_GPU),
        };
        let mut variables = HashMap::new();
        for (name, bytes) in declarations.iter().flat_map(|declarations| &declarations.variables) {
            if *bytes > 0 {
                let block = memory::allocate(context, *bytes as usize, Kind::Device, 0)?;
                block.zero();
                variables.insert(name.clone(), block);
            }
        }
        let module = Box::leak(Box::new(Self {
            declarations,
            functions: Mutex::default(),
            variables: Mutex::new(variables),
        }));
        MODULES.insert(module).ok_or(Error::OUT_OF_MEMORY)
    }

    /// `cuModuleUnload`: the handle dies; names and functions stay, for records that may still point to them.
    pub(crate) fn unload(handle: Handle) -> Outcome {
        let module = MODULES.remove(handle).ok_or(Error::INVALID_HANDLE)?;
        for (_, block) in lock(&module.variables).drain() {
            // A destroyed context has taken them already.
            memory::remove(block.start, &[Kind::Device]).ok();
        }
        Ok(())
    }

    /// The module of a handle.
    pub(crate) fn find(handle: Handle) -> Outcome<&'static Self> {
        MODULES.get(handle).ok_or(Error::INVALID_HANDLE)
    }

    /// Handle of a function, the same each time.
    pub(crate) fn function(&'static self, name: &str) -> Outcome<Handle> {
        let mut functions = lock(&self.functions);
        if let Some(handle) = functions.get(name) {
            return Ok(*handle);
        }
        let function = Box::leak(Box::new(Function::new(self, name)?));
        let handle = FUNCTIONS.insert(function).ok_or(Error::OUT_OF_MEMORY)?;
        functions.insert(name.to_owned(), handle);
        Ok(handle)
    }

    /// Names of its kernels, in the order of the text; none for binary images.
    pub(crate) fn entry_names(&self) -> impl Iterator<Item = &str> {
        self.declarations
            .iter()
            .flat_map(|declarations| &declarations.entries)
            .map(|entry| entry.name.as_str())
    }

    /// Address and size of a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<(u64, usize)> {
        lock(&self.variables).get(name).map(|block| (block.start, block.bytes as usize))
    }

    /// PTX version and target, as `CU_FUNC_ATTRIBUTE_PTX_VERSION` counts them.
    fn versions(&self) -> (u32, u32) {
        self.declarations
            .as_ref()
            .map_or((80, 80), |declarations| (declarations.version, declarations.target))
    }
}

impl Function {
    fn new(module: &'static Module, name: &str) -> Outcome<Self> {
        let entry = match &module.declarations {
            Some(declarations) => {
                Some(declarations.entries.iter().find(|entry| entry.name == name).ok_or(Error::NOT_FOUND)?)
            }
            None => None,
        };
        let known = known::find(name, entry.map(|entry| entry.parameters.as_slice()));
        let parameters = match (entry, known) {
            (Some(entry), _) => entry.parameters.clone(),
            (None, Some(known)) => lay_out(known.param_sizes()),
            (None, None) => Vec::new(),
        };
        let declared_shared = entry.map_or(0, |entry| entry.shared_bytes);
        Ok(Self {
            name: CString::new(name).unwrap_or_default(),
            module,
            parameter_bytes: parameters.iter().map(|p| p.offset + p.size).max().unwrap_or(0),
            parameters,
            known,
            registers: known.map_or(32, Known::registers),
            static_shared_bytes: known.map_or(declared_shared, |known| known.static_shared_bytes()),
            max_dynamic_shared_bytes: AtomicU32::new(0),
            said: AtomicBool::new(false),
        })
    }

    /// The function of a handle.
    #[inline]
    pub(crate) fn find(handle: Handle) -> Outcome<&'static Self> {
        FUNCTIONS.get(handle).ok_or(Error::INVALID_HANDLE)
    }

    /// Dynamic shared memory that the program opted into, bytes.
    #[inline]
    pub(crate) fn max_dynamic_shared_bytes(&self) -> u32 {
        self.max_dynamic_shared_bytes.load(Ordering::Relaxed)
    }

    /// `cuFuncGetAttribute`; numbers of `CUfunction_attribute`.
    pub(crate) fn attribute(&self, attribute: i32) -> Outcome<i32> {
        let (version, target) = self.module.versions();
        let value = match attribute {
            0 => THREADS_PER_BLOCK,
            1 => self.static_shared_bytes,
            4 => self.registers,
            5 => version,
            6 => target,
            8 => self.max_dynamic_shared_bytes(),
            2 | 3 | 7 | 10..=15 => 0,
            // The carve-out has no preference.
            9 => return Ok(-1),
            _ => return Err(Error::INVALID_VALUE),
        };
        Ok(value as i32)
    }

    /// `cuFuncSetAttribute`.
    pub(crate) fn set_attribute(&self, attribute: i32, value: i32) -> Outcome {
        match (attribute, u32::try_from(value)) {
            (8, Ok(bytes)) if bytes.saturating_add(self.static_shared_bytes) <= SHARED_OPT_IN => {
                self.max_dynamic_shared_bytes.store(bytes, Ordering::Relaxed);
                Ok(())
            }
            (9..=15, _) => Ok(()),
            _ => Err(Error::INVALID_VALUE),
        }
    }

    /// Tells the user once per kernel name that results of this kernel are not computed.
    pub(crate) fn say_once_that_it_is_not_computed(&self) {
        static SAID: Mutex<Option<HashSet<CString>>> = Mutex::new(None);
        if self.said.swap(true, Ordering::Relaxed) || config().quiet || self.known.is_some() {
            return;
        }
        if lock(&SAID).get_or_insert_default().insert(self.name.clone()) {
            let (name, time) = (self.name.to_string_lossy(), config().kernel_us);
            eprintln!(
                "simulated libcuda: kernel {name} is not known: it takes {time} µs and computes nothing"
            );
        }
    }
}

/// Offsets of parameters of these sizes, each aligned to its size.
fn lay_out(sizes: &[usize]) -> Vec<Parameter> {
    let mut end = 0_usize;
    let place = |size: &usize| {
        let offset = end.next_multiple_of(size.next_power_of_two().clamp(1, 8));
        end = offset + size;
        Parameter { offset, size: *size }
    };
    sizes.iter().map(place).collect()
}
