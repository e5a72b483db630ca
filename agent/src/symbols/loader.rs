//! Where a process says that it has loaded a library.
//!
//! Enters: the files of a process. Leaves: the function that its dynamic loader calls before and after it changes the list of
//! libraries, which exists for debuggers to stop at (`r_brk` in link.h). Refuses: static programs, which have no loader.

use std::path::Path;

use super::process::Mapped;
use super::{Cache, ImageError, Pattern, Symbol};

/// The function of glibc and musl.
const FUNCTION: &str = "_dl_debug_state";

/// Finds that function among the files of a process. `None` if it has no loader, or one that is not known.
pub fn find<'a>(files: &'a [Mapped], cache: &Cache) -> Result<Option<(&'a Mapped, Symbol)>, ImageError> {
    let pattern = [Pattern::Exact(FUNCTION.to_owned())];
    for file in files.iter().filter(|file| is_loader(&file.shown)) {
        let found = file.open()?.lookup(cache, &pattern)?;
        let symbols = found.into_iter().flatten().flatten();
        if let Some(symbol) = symbols.into_iter().next() {
            return Ok(Some((file, symbol)));
        }
    }
    Ok(None)
}

/// Whether a file is a loader, by its name: `ld-linux-x86-64.so.2`, `ld-2.31.so`; musl's is its `libc.so` as well.
fn is_loader(shown: &str) -> bool {
    let shown = shown.strip_suffix(" (deleted)").unwrap_or(shown);
    let name = Path::new(shown).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_glibc = name.starts_with("ld-") || name.starts_with("ld.so");
    let is_musl = name == "libc.so" || name.starts_with("libc.musl-");
    (is_glibc && name.contains(".so")) || is_musl
}

#[cfg(test)]
mod tests {
    use super::{find, is_loader};
    use crate::event::Pid;
    use crate::symbols::{Cache, process};

    #[test]
    fn loaders_are_known_by_their_names() {
        for name in [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-2.31.so (deleted)",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/libc.so",
        ] {
            assert!(is_loader(name), "{name}");
        }
        for name in ["/lib/libc.so.6", "/usr/bin/ld", "/usr/bin/ld-new", "[vdso]", ""] {
            assert!(!is_loader(name), "{name}");
        }
    }

    #[test]
    fn the_loader_of_this_process_has_the_function() {
        let files = process::mapped(Pid(std::process::id())).unwrap();
        let (file, symbol) = find(&files, &Cache::disabled()).unwrap().unwrap();
        assert!(file.shown.contains("/ld-"), "{}", file.shown);
        assert!(file.address_of(symbol.file_offset).is_some());
    }
}
