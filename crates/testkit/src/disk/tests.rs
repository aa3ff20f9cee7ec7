use super::*;

fn dir() -> &'static Path {
    Path::new("/d")
}

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_dir_all(dir()).unwrap();
    disk.settle();
    disk
}

fn write(disk: &MemoryDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.open(&dir().join(name), OpenMode::Truncate).unwrap();
    file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    file
}

#[test]
fn synced_files_with_synced_names_survive_and_others_may_not() {
    let (mut lost, mut torn, mut whole) = (0, 0, 0);
    for seed in 0..200 {
        let disk = disk();
        write(&disk, "kept", &[1; 10_000]).sync().unwrap();
        disk.sync_dir(dir()).unwrap();
        write(&disk, "other", &[2; 10_000]);
        disk.cut_power(seed);
        assert_eq!(disk.read(&dir().join("kept")).unwrap(), [1; 10_000]);
        match disk.read(&dir().join("other")) {
            Err(_) => lost += 1,
            Ok(content) if content == [2; 10_000] => whole += 1,
            Ok(_) => torn += 1,
        }
    }
    assert!(lost > 10 && torn > 10 && whole > 10, "{lost} {torn} {whole}");
}

#[test]
fn replaced_files_are_old_or_new() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..100 {
        let disk = disk();
        write(&disk, "f", b"old").sync().unwrap();
        disk.sync_dir(dir()).unwrap();
        write(&disk, "f.tmp", b"new").sync().unwrap();
        disk.rename(&dir().join("f.tmp"), &dir().join("f")).unwrap();
        disk.cut_power(seed);
        match &*disk.read(&dir().join("f")).unwrap() {
            b"old" => old += 1,
            b"new" => new += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(old > 10 && new > 10, "{old} {new}");
}

#[test]
fn a_directory_whose_name_is_lost_takes_its_files_along() {
    let (mut lost, mut there) = (0, 0);
    for seed in 0..100 {
        let disk = disk();
        let inner = dir().join("a/b");
        disk.create_dir_all(&inner).unwrap();
        write(&disk, "a/b/f", b"content").sync().unwrap();
        disk.sync_dir(&inner).unwrap();
        disk.cut_power(seed);
        match disk.read(&inner.join("f")) {
            Ok(content) => there += usize::from(content == b"content"),
            Err(_) => lost += 1,
        }
    }
    assert!(lost > 10 && there > 10, "{lost} {there}");
}

#[test]
fn a_renamed_directory_keeps_what_is_in_it() {
    let disk = disk();
    disk.create_dir_all(&dir().join("a")).unwrap();
    write(&disk, "a/f", b"content").sync().unwrap();
    disk.settle();
    disk.rename(&dir().join("a"), &dir().join("b")).unwrap();
    assert_eq!(disk.list(dir()).unwrap(), ["b"]);
    disk.sync_dir(dir()).unwrap();
    disk.cut_power(1);
    assert_eq!(disk.read(&dir().join("b/f")).unwrap(), b"content");
}

#[test]
fn a_full_disk_takes_a_part() {
    let disk = disk();
    let file = disk.open(&dir().join("f"), OpenMode::Create).unwrap();
    disk.set_space_left(Some(3));
    let error = file.write_at(&[IoSlice::new(b"hello")], 0).unwrap_err();
    assert_eq!((error.kind(), file.len().unwrap()), (ErrorKind::StorageFull, 3));
}

#[test]
fn what_was_not_synced_in_a_renamed_directory_is_lost_with_it_alone() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = disk();
        disk.create_dir_all(&dir().join("a")).unwrap();
        write(&disk, "a/f", b"old");
        disk.rename(&dir().join("a"), &dir().join("old")).unwrap();
        disk.sync_dir(dir()).unwrap();
        disk.create_dir_all(&dir().join("a")).unwrap();
        write(&disk, "a/f", b"new").sync().unwrap();
        disk.sync_dir(&dir().join("a")).unwrap();
        disk.sync_dir(dir()).unwrap();
        disk.cut_power(seed);
        assert_eq!(disk.read(&dir().join("a/f")).unwrap(), b"new");
        lost += usize::from(disk.read(&dir().join("old/f")).is_err());
    }
    assert!(lost > 10, "{lost}");
}
