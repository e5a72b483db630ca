//! The specifications that are there: bundled ones, and those of a user's folder.
//!
//! Enters: a folder, if any. Leaves: a [`Catalog`]. Refuses: a file that does not type-check; one that has the name of a bundled
//! file replaces it.

use std::path::{Path, PathBuf};

use super::source::SpecError;
use super::specification::Specification;

macro_rules! bundled {
    ($($file:literal)*) => {
        /// Name and text of each bundled specification.
        const BUNDLED: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../probes/", $file)))),*];
    };
}

bundled! {
    "cuda-driver.toml"
    "cuda-runtime.toml"
    "gpu-agent-kernels.toml"
}

/// Largest file that is read as a specification, bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Why there is no catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The folder, or a file in it, cannot be read.
    #[error("cannot read probe specifications at {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no specification.
    #[error("{} is larger than {MOST_BYTES} bytes: it is no probe specification", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A specification does not type-check.
    #[error("{0}")]
    Specification(#[from] SpecError),
}

/// All specifications, by the names of their files.
#[derive(Debug)]
pub struct Catalog {
    /// The specifications.
    pub specifications: Vec<Specification>,
}

impl Catalog {
    /// The bundled specifications, with the files of `folder` added or in their place.
    pub fn open(folder: Option<&Path>) -> Result<Self, CatalogError> {
        let mut files: Vec<(String, String, String)> = BUNDLED
            .iter()
            .map(|(name, text)| ((*name).to_owned(), format!("bundled {name}"), (*text).to_owned()))
            .collect();
        if let Some(folder) = folder {
            for path in specifications_in(folder)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let file = (name.clone(), path.display().to_string(), read(&path)?);
                match files.iter_mut().find(|(known, _, _)| *known == name) {
                    Some(known) => *known = file,
                    None => files.push(file),
                }
            }
        }
        files.sort();
        let specifications = files
            .iter()
            .map(|(_, shown, text)| Specification::parse(shown, text))
            .collect::<Result<_, _>>()?;
        Ok(Self { specifications })
    }

    /// One file alone.
    pub fn file(path: &Path) -> Result<Self, CatalogError> {
        let specification = Specification::parse(&path.display().to_string(), &read(path)?)?;
        Ok(Self { specifications: vec![specification] })
    }
}

/// The specifications of a folder, in the order of their names.
fn specifications_in(folder: &Path) -> Result<Vec<PathBuf>, CatalogError> {
    let failed = |source| CatalogError::Read { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, CatalogError> {
    let failed = |source| CatalogError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(CatalogError::TooLarge { path: path.to_owned() });
    }
    std::fs::read_to_string(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_specification_type_checks() {
        let catalog = Catalog::open(None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalog.specifications.len(), BUNDLED.len());
        assert!(catalog.specifications.iter().all(|specification| !specification.probes.is_empty()));
    }

    #[test]
    fn every_specification_in_the_source_is_bundled() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes");
        let files = specifications_in(&folder).unwrap();
        let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, BUNDLED.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_adds_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, engine: &str| {
            std::fs::write(folder.path().join(name), format!("engine = \"{engine}\"\n")).unwrap();
        };
        write("gpu-agent-kernels.toml", "mine");
        write("zz.toml", "another");
        write("notes.txt", "nothing");
        let catalog = Catalog::open(Some(folder.path())).unwrap();
        let engines: Vec<&str> = catalog.specifications.iter().map(|one| &*one.engine).collect();
        assert!(engines.contains(&"mine") && engines.contains(&"another"), "{engines:?}");
        assert!(!engines.contains(&"gpu-agent-kernels"), "{engines:?}");
        std::fs::write(folder.path().join("bad.toml"), "engine = 1").unwrap();
        let error = Catalog::open(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains("bad.toml:1:10"), "{error}");
        assert!(Catalog::open(Some(&folder.path().join("absent"))).is_err());
    }
}
