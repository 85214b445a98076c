//! R27: full disk, read-only folder, missing folder, a folder in the way, links, long names; on the real file system.

use crate::{litter, sample, step_of};
use instdisc::checkpoint::{File, write};
use instdisc::{Error, Result};
use std::path::Path;

/// Checks that `result` is an `Io` error that holds `words`.
fn refused(result: Result<()>, words: &[&str]) -> bool {
    let Err(error @ Error::Io { .. }) = result else { panic!("{result:?}") };
    let text = error.to_string();
    words.iter().all(|word| text.contains(word)) || panic!("{text}")
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/last.safetensors");
    assert!(refused(sample(1, 9).save(&path), &["temporary file", "absent/last.safetensors", "No such file"]));
    println!("scorecard R27 missing folder: named error");
}

#[test]
fn a_folder_in_the_way_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    std::fs::create_dir(&path).unwrap();
    assert!(refused(sample(1, 9).save(&path), &["last.safetensors", "a folder stands here"]));
    assert_eq!(litter(folder.path()), 0);
    assert!(refused(sample(1, 9).save("/"), &["no file"]));
    assert!(refused(sample(1, 9).save(""), &["no file"]));
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        drop(std::os::unix::net::UnixListener::bind(&pipe).unwrap());
        assert!(refused(write(&pipe, b"x"), &["device, pipe or socket"]));
        assert!(File::import(&pipe).is_err());
    }
    println!("scorecard R27 path is a folder: named error");
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_stays() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (near, far) = (folder.path().join("near"), folder.path().join("far"));
    std::fs::create_dir_all(&near).unwrap();
    std::fs::create_dir_all(&far).unwrap();
    let link = near.join("last.safetensors");
    symlink("../far/real", &link).unwrap();
    for step in 0..2 {
        sample(step, 9).save(&link).unwrap(); // at first the link dangles
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(step_of(&File::load(far.join("real")).unwrap()), step);
    }
    symlink("loop", near.join("loop")).unwrap();
    assert!(refused(write(near.join("loop"), b"x"), &["40 links"]));
    assert_eq!((litter(&near), litter(&far)), (0, 0));
    println!("scorecard R27 symlink: followed and kept, loop named");
}

#[cfg(unix)]
#[test]
fn a_long_name_is_written_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let longest = folder.path().join("n".repeat(255));
    sample(3, 9).save(&longest).unwrap();
    assert_eq!(step_of(&File::load(&longest).unwrap()), 3);
    assert!(refused(sample(4, 9).save(folder.path().join("n".repeat(256))), &["too long"]));
    assert!(refused(write(folder.path().join("a\0b"), b"x"), &["NUL"]));
    assert_eq!(litter(folder.path()), 0);
    println!("scorecard R27 name of 255 bytes: written; of 256: named error");
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use std::process::Command;

    const LIMITED: &str = "INSTDISC_TEST_LIMITED_PATH";

    /// A mounted tmpfs, unmounted at the end.
    struct Mount(tempfile::TempDir);

    impl Mount {
        /// `None` where mounting is not allowed.
        fn new() -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(folder.path()).output();
            done.is_ok_and(|out| out.status.success()).then_some(Self(folder))
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }

    /// Tries to save 2 MiB where there is room for less.
    fn overfull(path: &Path, words: &[&str]) {
        let too_large = vec![7; 2 << 20];
        assert!(refused(write(path, &too_large), words));
        assert_eq!(step_of(&File::load(path).unwrap()), 1);
        assert_eq!(litter(path.parent().unwrap()), 0);
        sample(1, 50).save(path).unwrap(); // there is room again
    }

    /// Run by [`a_full_disk_keeps_the_old_file`] under a file-size limit. Does nothing in an ordinary run.
    #[test]
    fn child_meets_a_size_limit() {
        if let Some(path) = std::env::var_os(LIMITED) {
            overfull(Path::new(&path), &["writing", "last.safetensors", "too large"]);
        }
    }

    #[test]
    fn a_full_disk_keeps_the_old_file() {
        if let Some(mount) = Mount::new() {
            let path = mount.0.path().join("last.safetensors");
            sample(1, 50_000).save(&path).unwrap();
            overfull(&path, &["writing", "last.safetensors", "No space left"]);
            println!("scorecard R27 full disk (1 MiB tmpfs): named error, old file intact, no litter");
        } else {
            println!("scorecard R27 full disk: no tmpfs can be mounted here; a file-size limit is used instead");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        sample(1, 50).save(&path).unwrap();
        let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact disk::linux::child_meets_a_size_limit --test-threads=1";
        let run =
            Command::new("sh").arg("-c").arg(script).arg(std::env::current_exe().unwrap()).env(LIMITED, &path).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
        assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"));
        println!("scorecard R27 file-size limit: named error, old file intact, no litter");
    }

    #[test]
    fn a_read_only_folder_keeps_the_old_file() {
        if let Some(mount) = Mount::new() {
            let path = mount.0.path().join("last.safetensors");
            sample(1, 50).save(&path).unwrap();
            assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(mount.0.path()).status().unwrap().success());
            assert!(refused(sample(2, 50).save(&path), &["temporary file", "last.safetensors", "Read-only"]));
            assert_eq!(step_of(&File::load(&path).unwrap()), 1);
            println!("scorecard R27 read-only file system: named error, old file intact");
            return;
        }
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        sample(1, 50).save(&path).unwrap();
        let set = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o555);
        if std::fs::write(folder.path().join("probe"), b"").is_ok() {
            set(0o755);
            println!("scorecard R27 read-only folder: NOT TESTED, this user may write anywhere and mount nothing");
            return;
        }
        let result = sample(2, 50).save(&path);
        set(0o755);
        assert!(refused(result, &["temporary file", "last.safetensors", "ermission denied"]));
        assert_eq!(step_of(&File::load(&path).unwrap()), 1);
        println!("scorecard R27 read-only folder: named error, old file intact");
    }
}
