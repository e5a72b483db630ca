//! Writes the generated documents: `docs/metrics.md` and `docs/configuration.md`.
//!
//! Enters: nothing. Leaves: two files in the repository. Refuses: anything but these.

use std::io;
use std::path::Path;

use gpu_agent::{cli, export};

fn main() -> io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::write(docs.join("metrics.md"), export::document::markdown())?;
    std::fs::write(docs.join("configuration.md"), cli::document::markdown())
}
