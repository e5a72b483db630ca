//! What the cache keeps, and what it refuses to believe.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Cache, CacheStats, Entry};
use crate::event::Pid;
use crate::symbols::{Answer, Image, Pattern, Refusal, Symbol, process};

fn patterns() -> Vec<Pattern> {
    vec![
        Pattern::Exact("getppid".into()),
        Pattern::Demangled("*get*".into()),
        Pattern::Exact("there_is_no_such_function".into()),
    ]
}

/// The C library of this process.
fn libc() -> Image {
    let files = process::mapped(Pid(std::process::id())).unwrap();
    files.iter().find(|file| file.shown.contains("/libc.so")).unwrap().open().unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn an_answer_is_found_once_and_then_read() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a/b");
    let first = libc().lookup(&Cache::at(&place), &patterns()).unwrap();
    assert_eq!(first[0].as_ref().unwrap().len(), 1);
    assert!(matches!(first[1], Err(Refusal::TooMany { count: 65.. })));
    assert_eq!(first[2].as_ref().unwrap().len(), 0);
    let cache = Cache::at(&place);
    assert_eq!(libc().lookup(&cache, &patterns()).unwrap(), first);
    assert_eq!(cache.stats(), CacheStats { hits: 1, ..CacheStats::default() });
    assert_eq!(libc().lookup(&cache, &patterns()[..1]).unwrap(), first[..1]);
    assert_eq!(cache.stats(), CacheStats { hits: 1, misses: 1, ..CacheStats::default() });
}

#[test]
fn what_is_broken_or_foreign_is_refused_counted_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let truth = libc().lookup(&cache, &patterns()).unwrap();
    let [entry] = &entries(folder.path())[..] else { panic!() };
    let good = fs::read(entry).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let bad: Vec<Vec<u8>> = vec![
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        vec![0xFF; 100],
        text.replace("\"format\":1", "\"format\":2").into_bytes(),
        text.replace("*get*", "*got*").into_bytes(),
        text.replace("\"file\":\"", "\"file\":\"other ").into_bytes(),
    ];
    for (number, bytes) in (1..).zip(bad) {
        assert_ne!(bytes, good);
        fs::write(entry, bytes).unwrap();
        assert_eq!(libc().lookup(&cache, &patterns()).unwrap(), truth);
        assert_eq!(cache.stats().rejected, number);
        assert_eq!(fs::read(entry).unwrap(), good, "it is not replaced");
    }
    assert_eq!(cache.stats().hits, 0);
}

type Change = Box<dyn FnOnce(&mut Symbol)>;

/// The entry in `folder`, changed by `change`.
fn forge(folder: &Path, change: Change) {
    let [path] = &entries(folder)[..] else { panic!() };
    let mut entry: Entry<Vec<Pattern>, Vec<Answer>> =
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut entry.answers[0].as_mut().unwrap()[0]);
    fs::write(path, serde_json::to_vec(&entry).unwrap()).unwrap();
}

#[test]
fn places_that_the_file_does_not_confirm_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let truth = libc().lookup(&cache, &patterns()).unwrap();
    let other = libc().lookup(&cache, &[Pattern::Exact("getpid".into())]).unwrap();
    let other = other[0].as_ref().unwrap()[0].clone();
    let changes: [Change; 6] = [
        Box::new(|symbol| symbol.file_offset += 1),
        Box::new(|symbol| {
            symbol.address += 1;
            symbol.file_offset += 1;
        }),
        Box::new(|symbol| symbol.size_bytes += 1),
        Box::new(|symbol| symbol.number += 1),
        Box::new(|symbol| symbol.raw = "main".into()),
        // A function that is there, but not the one that is asked for.
        Box::new(move |symbol| *symbol = other),
    ];
    for (number, change) in (1..).zip(changes) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        libc().lookup(&cache, &patterns()).unwrap();
        forge(folder.path(), change);
        assert_eq!(libc().lookup(&cache, &patterns()).unwrap(), truth, "change {number}");
        assert_eq!((cache.stats().rejected, cache.stats().hits), (1, 0), "change {number}");
    }
}

#[test]
fn the_oldest_entries_give_way_and_other_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let one = Cache::at(folder.path());
    fs::write(folder.path().join("README"), vec![0; 1 << 20]).unwrap();
    one.put("file 0", &[], &[]);
    let size_bytes =
        fs::metadata(entries(folder.path()).iter().find(|path| path.extension().is_some()).unwrap())
            .unwrap()
            .len();
    let cache = Cache::at(folder.path()).with_limit(3 * size_bytes);
    for number in 1..=5 {
        // Times of files are no finer than Linux's tick.
        std::thread::sleep(std::time::Duration::from_millis(12));
        cache.put(&format!("file {number}"), &[], &[]);
    }
    assert_eq!(cache.stats(), CacheStats { evicted: 3, ..CacheStats::default() });
    assert_eq!(entries(folder.path()).len(), 4);
    assert!(cache.get("file 5", &[], |_| true).is_some() && cache.get("file 2", &[], |_| true).is_none());
}

#[test]
fn a_folder_that_cannot_be_is_counted_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("file");
    fs::write(&place, b"").unwrap();
    let cache = Cache::at(place.join("below"));
    assert!(libc().lookup(&cache, &patterns()).is_ok());
    assert_eq!(cache.stats(), CacheStats { misses: 1, failed: 1, ..CacheStats::default() });
}
