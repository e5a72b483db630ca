//! The names and versions in the function table, against the dynamic symbols of NVIDIA's libraries. Loads none of them:
//! some crash when they are.

#![allow(clippy::unwrap_used, reason = "a failure has to fail the test")]

use std::collections::BTreeSet;
use std::path::Path;

use cupti_sys::FUNCTIONS;
use object::{Object as _, ObjectSymbol as _};

#[path = "shared/libraries.rs"]
mod libraries;
#[path = "shared/versions.rs"]
mod versions;
use versions::API_VERSIONS;

fn exported_functions(library: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(library).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    elf.dynamic_symbols()
        .filter(|symbol| symbol.is_definition())
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect()
}

#[test]
fn every_library_exports_exactly_the_functions_that_its_version_is_said_to_have() {
    for library in libraries::fetch(&[]) {
        let (_, version) = API_VERSIONS.iter().find(|(release, _)| *release == library.release).unwrap();
        let exported = exported_functions(&library.path);
        for function in FUNCTIONS {
            assert_eq!(
                exported.contains(function.name),
                function.since.0 <= *version,
                "{} in CUPTI {}",
                function.name,
                library.release
            );
        }
    }
}
