//! Texts that say they are `/proc/PID/maps`.
//!
//! Enters: any bytes. Leaves: the ways they went. Refuses: a line that is two mappings, and a mapping that has another entry
//! in `map_files` than its addresses say.

use gpu_agent::maps;

use super::Run;
use super::program::{Ways, magnitude};

pub(super) fn make() -> Run {
    Box::new(|input| {
        let mut ways = Ways::default();
        let mut count = 0;
        maps::for_each(input, |mapping| {
            count += 1;
            let (start, end) = (format!("{:x}", mapping.start), format!("{:x}", mapping.end));
            assert_eq!(mapping.entry_name().split_once('-'), Some((&*start, &*end)));
            assert!(!mapping.path.contains(&b'\n') && !mapping.path.starts_with(b" "));
            ways.note((mapping.executable, mapping.inode == 0, mapping.path.first().copied()));
            ways.note((magnitude(mapping.offset), magnitude(mapping.end.wrapping_sub(mapping.start))));
            ways.note((magnitude(mapping.device.0.into()), magnitude(mapping.device.1.into())));
        })
        .unwrap();
        assert!(count <= input.split(|byte| *byte == b'\n').count());
        ways.note(("mappings", count.min(8)));
        ways.into_numbers()
    })
}
