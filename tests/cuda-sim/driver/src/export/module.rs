//! Modules, libraries, functions and variables. A library is a module, its kernels are functions.
#![allow(unsafe_code, reason = "looks at the first bytes of an image")]

use core::ffi::{CStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;

use crate::call::exports;
use crate::context;
use crate::device::by_ordinal;
use crate::error::{Error, Outcome};
use crate::ffi::{DevicePtr, Handle, Out, Text};
use crate::module::{Function, Image, Module};
use crate::ptx;

/// First bytes of a cubin (ELF), of a fatbin, and of the wrapper around a fatbin that nvcc makes.
const BINARY_MAGICS: [[u8; 4]; 3] =
    [*b"\x7fELF", 0xba55_ed50_u32.to_le_bytes(), 0x4662_43b1_u32.to_le_bytes()];

fn load_data(handle: &Out<Handle>, image: *const c_void) -> Outcome {
    handle.check()?;
    let context = context::current()?;
    if image.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    let mut start = Vec::new();
    while start.len() < 4 && start.last() != Some(&0) {
        // SAFETY: not NULL; an image is at least one byte, and a text goes on until its NUL.
        start.push(unsafe { image.cast::<u8>().add(start.len()).read() });
    }
    let image = if BINARY_MAGICS.iter().any(|magic| *magic == *start) {
        Image::Binary
    } else if ptx::is_text(&start) {
        // SAFETY: PTX images are NUL-terminated text.
        let text = unsafe { CStr::from_ptr(image.cast::<c_char>()) };
        Image::Ptx(text.to_str().or(Err(Error::INVALID_PTX))?)
    } else {
        return Err(Error::INVALID_IMAGE);
    };
    handle.put(Module::load(&image, context)?)
}

fn load_file(handle: &Out<Handle>, path: Text) -> Outcome {
    handle.check()?;
    let context = context::current()?;
    let path = path.get()?;
    let bytes = std::fs::read(std::ffi::OsStr::from_bytes(path.to_bytes())).or(Err(Error::FILE_NOT_FOUND))?;
    let is_binary = BINARY_MAGICS.iter().any(|magic| bytes.starts_with(magic));
    let text = std::str::from_utf8(&bytes).ok().filter(|_| !is_binary && ptx::is_text(&bytes));
    let image = match text {
        Some(text) => Image::Ptx(text.trim_end_matches('\0')),
        None if is_binary => Image::Binary,
        None => return Err(Error::INVALID_IMAGE),
    };
    handle.put(Module::load(&image, context)?)
}

fn find_function(handle: &Out<Handle>, module: Handle, name: Text) -> Outcome {
    handle.check()?;
    let name = name.get()?.to_str().or(Err(Error::NOT_FOUND))?;
    handle.put(Module::find(module)?.function(name)?)
}

fn find_variable(address: &Out<DevicePtr>, bytes: &Out<usize>, module: Handle, name: Text) -> Outcome {
    let name = name.get()?.to_string_lossy();
    let (start, length) = Module::find(module)?.variable(&name).ok_or(Error::NOT_FOUND)?;
    address.put_if_asked(start);
    bytes.put_if_asked(length);
    Ok(())
}

fn list_functions(handles: &Out<Handle>, room: u32, module: Handle) -> Outcome {
    let module = Module::find(module)?;
    let functions: Vec<Handle> =
        module.entry_names().map(|name| module.function(name)).collect::<Outcome<_>>()?;
    handles.put_all(&functions, room as usize)
}

fn put_parameter(function: Handle, index: usize, offset: &Out<usize>, size: &Out<usize>) -> Outcome {
    let parameter = Function::find(function)?.parameters.get(index).ok_or(Error::INVALID_VALUE)?;
    offset.put(parameter.offset)?;
    size.put_if_asked(parameter.size);
    Ok(())
}

exports! {
    ready fn cuModuleLoad(module: Out<Handle>, path: Text) {
        load_file(&module, path)
    }

    ready fn cuModuleLoadData(module: Out<Handle>, image: *const c_void) {
        load_data(&module, image)
    }

    ready fn cuModuleLoadDataEx(
        module: Out<Handle>, image: *const c_void, _count: u32, _options: *const c_void, _values: *const c_void,
    ) {
        load_data(&module, image)
    }

    ready fn cuModuleLoadFatBinary(module: Out<Handle>, image: *const c_void) {
        load_data(&module, image)
    }

    ready fn cuModuleUnload(module: Handle) {
        Module::unload(module)
    }

    ready fn cuModuleGetLoadingMode(mode: Out<u32>) {
        // CU_MODULE_EAGER_LOADING.
        mode.put(1)
    }

    ready fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) {
        find_function(&function, module, name)
    }

    ready fn cuModuleGetFunctionCount(count: Out<u32>, module: Handle) {
        count.put(Module::find(module)?.entry_names().count() as u32)
    }

    ready fn cuModuleEnumerateFunctions(functions: Out<Handle>, room: u32, module: Handle) {
        list_functions(&functions, room, module)
    }

    ready fn cuModuleGetGlobal_v2(address: Out<DevicePtr>, bytes: Out<usize>, module: Handle, name: Text) {
        find_variable(&address, &bytes, module, name)
    }

    ready fn cuLibraryLoadData(
        library: Out<Handle>, image: *const c_void, _jit: *const c_void, _jit_values: *const c_void,
        _jit_count: u32, _options: *const c_void, _values: *const c_void, _count: u32,
    ) {
        load_data(&library, image)
    }

    ready fn cuLibraryLoadFromFile(
        library: Out<Handle>, path: Text, _jit: *const c_void, _jit_values: *const c_void, _jit_count: u32,
        _options: *const c_void, _values: *const c_void, _count: u32,
    ) {
        load_file(&library, path)
    }

    ready fn cuLibraryUnload(library: Handle) {
        Module::unload(library)
    }

    ready fn cuLibraryGetKernel(kernel: Out<Handle>, library: Handle, name: Text) {
        find_function(&kernel, library, name)
    }

    ready fn cuLibraryGetKernelCount(count: Out<u32>, library: Handle) {
        count.put(Module::find(library)?.entry_names().count() as u32)
    }

    ready fn cuLibraryEnumerateKernels(kernels: Out<Handle>, room: u32, library: Handle) {
        list_functions(&kernels, room, library)
    }

    ready fn cuLibraryGetModule(module: Out<Handle>, library: Handle) {
        Module::find(library)?;
        module.put(library)
    }

    ready fn cuLibraryGetGlobal(address: Out<DevicePtr>, bytes: Out<usize>, library: Handle, name: Text) {
        find_variable(&address, &bytes, library, name)
    }

    ready fn cuKernelGetFunction(function: Out<Handle>, kernel: Handle) {
        Function::find(kernel)?;
        function.put(kernel)
    }

    ready fn cuKernelGetName(name: Out<*const c_char>, kernel: Handle) {
        name.put(Function::find(kernel)?.name.as_ptr())
    }

    ready fn cuFuncGetName(name: Out<*const c_char>, function: Handle) {
        name.put(Function::find(function)?.name.as_ptr())
    }

    ready fn cuKernelGetParamInfo(kernel: Handle, index: usize, offset: Out<usize>, size: Out<usize>) {
        put_parameter(kernel, index, &offset, &size)
    }

    ready fn cuFuncGetParamInfo(function: Handle, index: usize, offset: Out<usize>, size: Out<usize>) {
        put_parameter(function, index, &offset, &size)
    }

    ready fn cuFuncGetAttribute(value: Out<i32>, attribute: i32, function: Handle) {
        value.put(Function::find(function)?.attribute(attribute)?)
    }

    ready fn cuFuncSetAttribute(function: Handle, attribute: i32, value: i32) {
        Function::find(function)?.set_attribute(attribute, value)
    }

    ready fn cuKernelGetAttribute(value: Out<i32>, attribute: i32, kernel: Handle, device: i32) {
        by_ordinal(device)?;
        value.put(Function::find(kernel)?.attribute(attribute)?)
    }

    ready fn cuKernelSetAttribute(attribute: i32, value: i32, kernel: Handle, device: i32) {
        by_ordinal(device)?;
        Function::find(kernel)?.set_attribute(attribute, value)
    }

    ready fn cuFuncSetCacheConfig(function: Handle, _configuration: u32) {
        Function::find(function).map(|_| ())
    }

    ready fn cuFuncSetSharedMemConfig(function: Handle, _configuration: u32) {
        Function::find(function).map(|_| ())
    }

    ready fn cuKernelSetCacheConfig(kernel: Handle, _configuration: u32, device: i32) {
        by_ordinal(device)?;
        Function::find(kernel).map(|_| ())
    }

    ready fn cuFuncLoad(function: Handle) {
        Function::find(function).map(|_| ())
    }

    ready fn cuFuncIsLoaded(state: Out<u32>, function: Handle) {
        Function::find(function)?;
        // CU_FUNCTION_LOADING_STATE_LOADED.
        state.put(1)
    }
}
