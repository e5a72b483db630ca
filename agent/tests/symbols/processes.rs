//! Files that can be opened through a process only.

use std::fs;
use std::process::Command;

use gpu_agent::symbols::{Cache, loader};

use super::rig::{PROGRAM, Running, Workshop, exact, one};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The function `work` lies where the process says, in the file that it maps.
fn agrees(running: &Running, part: &str) -> gpu_agent::symbols::process::Mapped {
    let file = running.file(part);
    let symbol = one(&file.open().unwrap(), exact("work"));
    assert_eq!(file.address_of(symbol.file_offset), Some(running.address(0)));
    file
}

#[test]
fn a_program_that_was_replaced_or_deleted_is_still_itself() {
    let workshop = Workshop::new();
    let path = workshop.compile("cc", ("p.c", PROGRAM), "program", &["-O1"]);
    let running = Running::program(&path);
    assert!(!agrees(&running, "/program").is_deleted);
    // Another build in its place has `work` elsewhere, or not at all.
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"not even ELF").unwrap();
    let file = agrees(&running, "/program");
    assert!(file.is_deleted && !file.is_memfd);
    assert!(file.path.starts_with(format!("/proc/{}", running.pid())), "{}", file.path.display());
}

#[test]
fn a_library_in_a_memfd_is_found() {
    let workshop = Workshop::new();
    workshop.compile("cc", ("l.c", "int work(int x) { return x * 3; }"), "l.so", &["-shared", "-fPIC"]);
    let source = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdio.h>
        #include <sys/mman.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            char bytes[4096], path[64];
            int from = open(argv[1], O_RDONLY), to = memfd_create("lib with space", 0);
            for (ssize_t size; (size = read(from, bytes, sizeof bytes)) > 0;) write(to, bytes, size);
            snprintf(path, sizeof path, "/proc/self/fd/%d", to);
            void *library = dlopen(path, RTLD_NOW);
            if (!library) { puts(dlerror()); return 1; }
            close(to);
            printf("%p\n", dlsym(library, "work"));
            fflush(stdout);
            while (getchar() != EOF) {}
        }"#;
    let path = workshop.compile("cc", ("p.c", source), "program", &["-ldl"]);
    let running = Running::start(Command::new(path).arg(workshop.path("l.so")));
    let file = agrees(&running, "/memfd:lib with space");
    assert!(file.is_memfd && file.is_deleted);
}

#[test]
fn a_file_behind_another_mount_is_the_one_that_the_process_sees() {
    if !is_root() {
        println!("skipped: not root, so no namespaces can be made");
        return;
    }
    let workshop = Workshop::new();
    workshop.compile("cc", ("p.c", PROGRAM), "inside", &["-O1", "-static"]);
    workshop.write("room/program", b"a decoy");
    let script = "mount -t tmpfs none room && cp inside room/program && exec room/program";
    let folder = workshop.path("");
    let running =
        Running::start(Command::new("unshare").args(["--mount", "sh", "-c", script]).current_dir(folder));
    let file = agrees(&running, "/room/program");
    assert_eq!(fs::read(workshop.path("room/program")).unwrap(), b"a decoy");
    assert!(!file.is_deleted);
}

#[test]
fn the_debug_file_in_a_container_is_used_for_its_processes() {
    if !is_root() {
        println!("skipped: not root, so no root can be changed");
        return;
    }
    let workshop = Workshop::new();
    let path =
        workshop.compile("cc", ("p.c", PROGRAM), "program", &["-O1", "-static", "-Wl,--build-id=0xabcdef01"]);
    workshop.run("objcopy", &["--only-keep-debug", "program", "program.debug"]);
    workshop.run("strip", &["program"]);
    workshop.write(
        "room/usr/lib/debug/.build-id/ab/cdef01.debug",
        fs::read(workshop.path("program.debug")).unwrap(),
    );
    fs::create_dir_all(workshop.path("room/opt")).unwrap();
    fs::rename(&path, workshop.path("room/opt/program")).unwrap();
    let running = Running::start(Command::new("chroot").arg(workshop.path("room")).arg("/opt/program"));
    agrees(&running, "/opt/program");
}

#[test]
fn the_loader_of_a_process_tells_where_it_announces_libraries() {
    let workshop = Workshop::new();
    let running = Running::program(&workshop.compile("cc", ("p.c", PROGRAM), "program", &[]));
    let files = gpu_agent::symbols::process::mapped(running.pid()).unwrap();
    let (file, symbol) = loader::find(&files, &Cache::disabled()).unwrap().unwrap();
    assert!(file.shown.contains("ld-"), "{}", file.shown);
    assert!(file.address_of(symbol.file_offset).is_some());
    let running = Running::program(&workshop.compile("cc", ("p.c", PROGRAM), "static", &["-static"]));
    let files = gpu_agent::symbols::process::mapped(running.pid()).unwrap();
    assert!(loader::find(&files, &Cache::disabled()).unwrap().is_none());
}

#[test]
fn a_process_that_is_gone_is_an_error_with_its_path() {
    let pid = {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        gpu_agent::event::Pid(child.id())
    };
    let error = gpu_agent::symbols::process::mapped(pid).unwrap_err().to_string();
    assert!(error.contains(&format!("/proc/{pid}/maps")), "{error}");
}
