//! Where the shim's library is.
//!
//! Enters: what the user said. Leaves: an absolute path. Refuses: a path without a file.

use std::path::{Path, PathBuf};

use super::Error;

/// File name of the shim.
const NAME: &str = "libgpu_agent_cupti.so";

/// The shim: where the user says, else beside this executable, in the package's library folder, or where cargo puts
/// libraries of dependencies.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf, Error> {
    let candidates = match given {
        Some(path) => vec![path.to_owned()],
        None => candidates(&std::env::current_exe().map_err(Error::system("find this executable"))?),
    };
    let found = candidates.iter().find(|path| path.is_file()).and_then(|path| path.canonicalize().ok());
    found.ok_or(Error::NoShim { looked_at: candidates })
}

fn candidates(executable: &Path) -> Vec<PathBuf> {
    let folder = executable.parent().unwrap_or(Path::new("/"));
    ["", "../lib/gpu-agent", "../lib", "deps", ".."]
        .iter()
        .map(|place| folder.join(place).join(NAME))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Error, NAME, candidates, find};

    #[test]
    fn the_shim_is_looked_for_beside_the_executable_first() {
        let list = candidates(Path::new("/usr/bin/gpu-agent"));
        assert_eq!(list.first().map(|path| path.as_path()), Some(Path::new("/usr/bin").join(NAME).as_path()));
        assert!(list.contains(&Path::new("/usr/bin/../lib/gpu-agent").join(NAME)));
    }

    #[test]
    fn a_path_without_a_file_is_refused_by_name() {
        let error = find(Some(Path::new("/nowhere/shim.so"))).unwrap_err();
        assert!(matches!(&error, Error::NoShim { looked_at } if looked_at.len() == 1));
        assert!(error.to_string().contains("/nowhere/shim.so"));
    }
}
