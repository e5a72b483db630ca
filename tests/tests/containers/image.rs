//! What a container sees: a root with one program in it and what that needs, made of local files.
//!
//! Enters: a program as it is on this host; another C library, if wanted. Leaves: a folder, to be mounted read-only. Refuses:
//! a shell, a `/tmp`, anything of the agent.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gpu_agent_tests::bare::Bare;
use gpu_agent_tests::programs;

/// Where the program is started.
pub(crate) const FOLDER: &str = "/app";
/// Where CUDA is.
pub(crate) const CUDA: &str = "/cuda";

/// A root file system.
pub(crate) struct Image {
    folder: tempfile::TempDir,
    /// What is started in it.
    pub(crate) line: Vec<OsString>,
}

impl Image {
    /// With `program` in it, and the C library of this host or those files of another.
    pub(crate) fn of(program: &Bare, c_library: Option<&Path>) -> Self {
        // Its user is another than that of the tests.
        let readable = fs::Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(readable).tempdir().unwrap();
        let name = program.program.file_name().unwrap().to_owned();
        let inside = Path::new(FOLDER).join(&name);
        let image = Self {
            folder,
            line: std::iter::once(inside.clone().into()).chain(program.arguments.clone()).collect(),
        };
        for empty in ["proc", "sys", "dev"] {
            fs::create_dir_all(image.root().join(empty)).unwrap();
        }
        // What engines put their own files on.
        for file in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv"] {
            image.write(Path::new(file));
        }
        if let Some(files) = c_library {
            image.copy_all(files, Path::new("/"));
        }
        image.copy(&program.program, &inside);
        for file in &program.reads {
            image.copy(&program.folder.join(file), &Path::new(FOLDER).join(file));
        }
        for folder in &program.runtime {
            image.copy_all(folder, folder);
        }
        let cuda =
            ["libcuda.so.1", "libcupti.so.12", "libcupti.so.13"].map(|name| programs::simulator().join(name));
        for library in &cuda {
            image.copy(library, &Path::new(CUDA).join(library.file_name().unwrap()));
        }
        let loaded = std::iter::once(&program.program).chain(&program.loads).chain(&cuda);
        for library in libraries(loaded) {
            // A second C library beside the first is a third, which nobody has.
            if !image.inside(&library).exists() && !(c_library.is_some() && is_of_the_c_library(&library)) {
                image.copy(&library, &library);
            }
        }
        image
    }

    /// The root.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Room beside the root, for what an engine keeps of this container.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.root().join(path.strip_prefix("/").unwrap())
    }

    fn copy(&self, from: &Path, to: &Path) {
        let to = self.inside(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    fn write(&self, path: &Path) {
        let path = self.inside(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    /// A folder without what no program here reads of it.
    fn copy_all(&self, from: &Path, to: &Path) {
        const LEFT_OUT: [&str; 6] =
            ["__pycache__", "site-packages", "dist-packages", "test", "ensurepip", "idlelib"];
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let (name, target) = (entry.file_name(), to.join(entry.file_name()));
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                self.copy_all(&entry.path(), &target);
            } else if kind.is_symlink() {
                let target = self.inside(&target);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), target).unwrap();
            } else if kind.is_file() {
                self.copy(&entry.path(), &target);
            }
        }
    }
}

/// What the dynamic linker would load for `files`, as it lists it.
fn libraries<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let output =
        Command::new("ldd").args(files).env("LD_LIBRARY_PATH", programs::simulator()).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let paths = listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    // `ldd` begins with the name of each file that it was asked about.
    let paths = paths.filter(|path| !path.ends_with(':')).map(PathBuf::from);
    paths.filter(|path| !path.starts_with(programs::simulator())).collect()
}

/// Whether it comes with the dynamic linker, and only goes with that one.
fn is_of_the_c_library(path: &Path) -> bool {
    const PARTS: [&str; 6] = ["ld-linux", "libc.so", "libm.so", "libpthread.so", "libdl.so", "librt.so"];
    let name = path.file_name().unwrap().to_string_lossy();
    PARTS.iter().any(|part| name.starts_with(part))
}
