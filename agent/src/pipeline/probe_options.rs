//! What a user may say about probes.
//!
//! Enters: flags, variables, the `[probes]` table. Leaves: a [`Config`], or nothing where probes are off. Refuses: a ring that is
//! smaller than a burst, specifications that do not type-check, engines that have none.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::options;
use crate::config::value::{ValueError, deserialize_from_str};
use crate::probes::catalog::{Catalog, CatalogError};
use crate::symbols::Cache;

options! {
    /// Probes on the entry points of inference engines: calls, their host time, tensors. They need root, or the capabilities that docs/operating.md lists.
    pub struct Options["probes"] {
        /// Which engines' entry points are probed: all, none, or a list such as `vllm,cuda` (`gpu-agent probes list` names them).
        engines: Engines, "probe-engines", "GPU_AGENT_PROBE_ENGINES", default "all", value_name = "ENGINES";
        /// A folder with more specifications; one with the name of a bundled one replaces it (docs/probes.md).
        specifications: PathBuf, "probes", "GPU_AGENT_PROBES", default "none", value_name = "DIR";
        /// Size of the ring buffer that records come through, 65536 to 268435456; a power of two.
        ring_bytes: u32, "probe-ring-bytes", "GPU_AGENT_PROBE_RING_BYTES", default "4194304", value_name = "BYTES";
        /// Where the places of functions in files are remembered, by build-id: a folder, or `off`.
        cache: Folder, "probe-cache", "GPU_AGENT_PROBE_CACHE", default "/var/cache/gpu-agent/symbols", value_name = "DIR";
    }
}

/// Where symbols are remembered by default.
const CACHE: &str = "/var/cache/gpu-agent/symbols";
/// The sizes that a ring may have.
const RING_BYTES: std::ops::RangeInclusive<u32> = 1 << 16..=1 << 28;

/// Which engines are probed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Engines {
    /// All.
    #[default]
    All,
    /// None: no BPF program is loaded.
    None,
    /// These.
    Only(Vec<String>),
}

/// A folder that need not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// No folder.
    Off,
    /// This one.
    At(PathBuf),
}

/// How to probe.
#[derive(Debug)]
pub struct Config {
    /// The specifications that are wanted.
    pub catalog: Catalog,
    /// Size of the ring buffer.
    pub ring_bytes: u32,
    /// What is known of files.
    pub cache: Cache,
}

/// Why the options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size of the ring.
    #[error(
        "a ring of {0} bytes is out of range; give a power of two from {start} to {end}",
        start = RING_BYTES.start(),
        end = RING_BYTES.end()
    )]
    RingSize(u32),
    /// A specification cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// No specification is for it.
    #[error("no probe specification is for the engine `{engine}`; there are {known}")]
    Engine {
        /// What was asked for.
        engine: String,
        /// What could be.
        known: String,
    },
}

impl Options {
    /// With defaults; `None` where probes are off.
    pub fn resolve(self) -> Result<Option<Config>, Error> {
        let ring_bytes = self.ring_bytes.unwrap_or(gpu_agent_ebpf_abi::RING_BYTES);
        if !RING_BYTES.contains(&ring_bytes) || !ring_bytes.is_power_of_two() {
            return Err(Error::RingSize(ring_bytes));
        }
        let engines = self.engines.unwrap_or_default();
        if engines == Engines::None {
            return Ok(None);
        }
        let mut catalog = Catalog::open(self.specifications.as_deref())?;
        if let Engines::Only(wanted) = engines {
            select(&mut catalog, &wanted)?;
        }
        let cache = match self.cache {
            Some(Folder::Off) => Cache::disabled(),
            Some(Folder::At(folder)) => Cache::at(folder),
            None => Cache::at(CACHE),
        };
        Ok(Some(Config { catalog, ring_bytes, cache }))
    }
}

/// Leaves the specifications of these engines.
fn select(catalog: &mut Catalog, wanted: &[String]) -> Result<(), Error> {
    let is_of = |engine: &str| catalog.specifications.iter().any(|known| *known.engine == *engine);
    if let Some(engine) = wanted.iter().find(|engine| !is_of(engine)) {
        let mut known: Vec<&str> = catalog.specifications.iter().map(|known| &*known.engine).collect();
        known.sort_unstable();
        known.dedup();
        return Err(Error::Engine { engine: engine.clone(), known: known.join(", ") });
    }
    catalog.specifications.retain(|known| wanted.iter().any(|engine| *known.engine == **engine));
    Ok(())
}

impl FromStr for Engines {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: Vec<String> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Err(ValueError("write `all`, `none`, or names of engines".to_owned())),
            ["all"] => Ok(Self::All),
            ["none"] => Ok(Self::None),
            _ => Ok(Self::Only(names)),
        }
    }
}

impl fmt::Display for Engines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all"),
            Self::None => formatter.write_str("none"),
            Self::Only(names) => formatter.write_str(&names.join(",")),
        }
    }
}

impl FromStr for Folder {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err(ValueError("an empty name is no folder: write a path or `off`".to_owned())),
            "off" => Ok(Self::Off),
            path => Ok(Self::At(path.into())),
        }
    }
}

deserialize_from_str! {
    Engines, "`all`, `none`, or engines separated by commas";
    Folder, "a folder, or `off`";
}

#[cfg(test)]
mod tests {
    use super::{Engines, Folder, Options};

    fn of(engines: &str) -> Options {
        Options { engines: Some(engines.parse().unwrap()), ..Options::default() }
    }

    #[test]
    fn probes_are_on_for_all_engines_unless_told_otherwise() {
        let all = Options::default().resolve().unwrap().unwrap().catalog.specifications;
        assert!(!all.is_empty());
        assert!(of("none").resolve().unwrap().is_none());
        let first = all[0].engine.to_string();
        let some = of(&format!(" {first} ,")).resolve().unwrap().unwrap().catalog.specifications;
        assert!(some.iter().all(|specification| *specification.engine == *first) && !some.is_empty());
        let error = of("no-such-engine").resolve().unwrap_err().to_string();
        assert!(error.contains("no-such-engine") && error.contains(&first), "{error}");
        assert!(",".parse::<Engines>().is_err());
    }

    #[test]
    fn a_ring_that_linux_would_not_make_is_refused_with_the_range() {
        for ring_bytes in [0, 4096, 100_000, u32::MAX] {
            let options = Options { ring_bytes: Some(ring_bytes), ..Options::default() };
            let error = options.resolve().unwrap_err().to_string();
            assert!(error.contains("65536 to 268435456"), "{error}");
        }
    }

    #[test]
    fn the_cache_can_be_off() {
        assert_eq!("off".parse::<Folder>().unwrap(), Folder::Off);
        assert!("".parse::<Folder>().is_err());
    }
}
