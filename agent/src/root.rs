//! A root folder, and what its paths mean to who lives there.
//!
//! Enters: a root, as `/proc/PID/root`; paths in it, every part of which a hostile process may have made. Leaves: places that are not open
//! yet, whether a file is there, names of a folder's entries. Refuses: a link that leads out of the root (it leads on inside of
//! it, as it does for the process); links of `/proc`, which lead anywhere; to open what is neither a regular file nor a folder: a
//! FIFO blocks, a device acts; more than [`MOST_ENTRIES`] of a folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// Most entries of a folder that are looked at.
pub const MOST_ENTRIES: usize = 8192;

/// An open root. Whatever its process mounts or moves later, or whoever has its pid then, it stays this one.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens a root.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(open(folder, flags, Mode::empty())?))
    }

    /// The place of a path, of whatever kind it is: it can be asked what it is, and nothing of it has been opened (`O_PATH`).
    pub fn place(&self, path: &Path) -> io::Result<OwnedFd> {
        self.look_up(path, OFlags::PATH)
    }

    /// Whether there is a regular file.
    #[must_use]
    pub fn has_file(&self, path: &Path) -> bool {
        let kind = self.place(path).and_then(|place| Ok(fstat(place)?.st_mode));
        kind.is_ok_and(|mode| FileType::from_raw_mode(mode) == FileType::RegularFile)
    }

    /// Names in a folder, sorted; none where there is no folder. Of one with more than [`MOST_ENTRIES`] some are left out.
    #[must_use]
    pub fn names(&self, folder: &Path) -> Vec<String> {
        // With O_DIRECTORY, Linux opens nothing else.
        let folder = self.look_up(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK);
        let entries = folder.and_then(|folder| Ok(Dir::new(folder)?)).into_iter().flatten().flatten();
        let name = |entry: rustix::fs::DirEntry| entry.file_name().to_str().ok().map(str::to_owned);
        let mut names: Vec<String> = entries.take(MOST_ENTRIES).filter_map(name).collect();
        names.sort_unstable();
        names
    }

    /// openat2(2), Linux 5.6.
    fn look_up(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, mknodat};

    use super::*;

    /// A root with `lib/file` in it, and a folder with `lib/file` beside it.
    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for lib in ["root/lib", "outside/lib"] {
            fs::create_dir_all(folder.path().join(lib)).unwrap();
        }
        fs::write(folder.path().join("root/lib/file"), "").unwrap();
        fs::write(folder.path().join("outside/lib/secret"), "").unwrap();
        let root = Root::open(&folder.path().join("root")).unwrap();
        (folder, root)
    }

    #[test]
    fn links_mean_what_they_mean_inside_and_lead_nowhere_else() {
        let (folder, root) = root();
        let inside = folder.path().join("root");
        symlink("/lib", inside.join("absolute")).unwrap();
        symlink("../../../../lib", inside.join("upwards")).unwrap();
        for path in ["lib/file", "/lib/file", "absolute/file", "upwards/file", "../../lib/file"] {
            assert!(root.has_file(Path::new(path)), "{path}");
        }
        symlink(folder.path().join("outside/lib"), inside.join("escape")).unwrap();
        symlink("../outside/lib", inside.join("climb")).unwrap();
        for path in ["escape/secret", "climb/secret", "../outside/lib/secret"] {
            assert!(!root.has_file(Path::new(path)), "{path}");
        }
        assert!(root.names(Path::new("escape")).is_empty() && root.names(Path::new("climb")).is_empty());
        assert_eq!(root.names(Path::new("absolute")), [".", "..", "file"]);
    }

    #[test]
    fn links_in_circles_and_those_of_proc_are_not_followed() {
        let (folder, root) = root();
        symlink("circle", folder.path().join("root/circle")).unwrap();
        let error = root.place(Path::new("circle/file")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        let host = Root::open(Path::new("/")).unwrap();
        let error = host.place(Path::new("proc/self/root/etc")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn what_would_block_or_act_is_found_and_not_opened() {
        let (folder, root) = root();
        let make = |name: &str, kind, device| {
            mknodat(CWD, folder.path().join("root/lib").join(name), kind, Mode::from_raw_mode(0o666), device)
        };
        make("libcupti.so.12", FileType::Fifo, 0).unwrap();
        // Only root can make a device node, and where it cannot, nobody else can either.
        let has_device =
            make("libcupti.so.13", FileType::CharacterDevice, rustix::fs::makedev(10, 130)).is_ok();
        for name in ["lib/libcupti.so.12", "lib/libcupti.so.13", "lib"] {
            let path = Path::new(name);
            assert!(!root.has_file(path), "{name}");
            assert!(root.place(path).is_ok() || !has_device, "{name}");
        }
        assert!(root.names(Path::new("lib/libcupti.so.12")).is_empty());
    }

    #[test]
    fn of_a_folder_without_end_a_part_is_looked_at() {
        let (folder, root) = root();
        let target = folder.path().join("root/lib");
        let file = target.join("file");
        (0..100_000)
            .for_each(|number| fs::hard_link(&file, target.join(number.to_string())).unwrap_or_default());
        let there = fs::read_dir(&target).unwrap().count();
        assert!(there > MOST_ENTRIES, "{there}");
        assert_eq!(root.names(Path::new("lib")).len(), MOST_ENTRIES);
    }
}
