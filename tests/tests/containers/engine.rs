//! What makes containers.
//!
//! Enters: an image. Leaves: a running program in a container that ends with the test. Refuses: images of a registry, and
//! containers that are not its own.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use gpu_agent_tests::bare::Program;

use super::image::Image;

/// Settings of the simulated device.
pub(crate) const SIMULATOR: &str = "compute=model,clock=virtual,kernel_us=2,quiet=on";

/// Makes containers.
pub(crate) trait Engine {
    /// The command that runs `image` in the foreground, as the container `name`.
    fn run(&self, image: &Image, name: &str) -> Command;

    /// The process in the container `name`, and the container's id.
    fn look_up(&self, image: &Image, name: &str) -> (u32, String);

    /// Ends and forgets the container `name`, if it is there.
    fn remove(&self, image: &Image, name: &str);
}

/// A container with a running program; removed when dropped.
pub(crate) struct Container<'a> {
    engine: &'a dyn Engine,
    image: &'a Image,
    name: String,
}

impl<'a> Container<'a> {
    /// Starts it; with its program, which is ready, and its id.
    pub(crate) fn start(engine: &'a dyn Engine, image: &'a Image) -> (Self, Program, String) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // Where an engine leaves the id to the user it is as long as that of the others.
        let name = format!("{:056x}{:08x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let container = Self { engine, image, name };
        let program = Program::start(&mut engine.run(image, &container.name));
        let (pid, id) = engine.look_up(image, &container.name);
        (container, program.known_as(pid), id)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.engine.remove(self.image, &self.name);
    }
}

/// Whether containers can be made with `program`; says why not.
pub(crate) fn is_usable(program: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to make a container");
        return false;
    }
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {program} is not installed (apt-get install {program})");
    }
    there
}

/// What `command` prints; it must succeed.
pub(crate) fn answer(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
