//! Runs, checkpoints, adapters and disks that are not what they should be. What was there before stays.

use crate::{Place, check_refused, checkpoint, command, done, finish, refused, tool, train};

#[test]
fn a_runs_folder_is_never_overwritten_and_never_guessed() {
    let place = Place::new();
    let data = place.pictures("data", 8);
    let out = place.arg("run");
    // Nothing to resume.
    refused(&train(&data, &out, &["--resume"]), &["run", "no checkpoint", "leave --resume out"]);
    assert!(!place.path("run").exists());
    // Something else is there.
    place.write("run/thesis.txt", b"years of work");
    refused(&train(&data, &out, &[]), &["run", "not empty", "another --out", "--resume"]);
    refused(&train(&data, &out, &["--resume"]), &["run", "no checkpoint"]);
    assert_eq!(std::fs::read(place.path("run/thesis.txt")).unwrap(), b"years of work");
    refused(&train(&data, &place.arg("run/thesis.txt"), &[]), &["thesis.txt"]);
    std::fs::remove_file(place.path("run/thesis.txt")).unwrap();
    // An empty folder is fine; the same command again is not.
    done(&train(&data, &out, &[]));
    let bytes = checkpoint(&place.path("run"));
    refused(&train(&data, &out, &[]), &["run", "not empty", "--resume"]);
    // Another configuration is named by what differs; other images too.
    refused(&train(&data, &out, &["--resume", "--lr", "0.5"]), &["config.json", "--lr 0.03, now 0.5"]);
    refused(&train(&data, &out, &["--resume", "--loss", "nce"]), &["--loss softmax, now nce"]);
    place.picture("data/a/new.png", 20, 20, 99);
    refused(&train(&data, &out, &["--resume"]), &["data", "1 image came (a/new.png)"]);
    std::fs::remove_file(place.path("data/a/new.png")).unwrap();
    std::fs::rename(place.path("data/a/00.png"), place.path("data/a/01.png")).unwrap();
    refused(&train(&data, &out, &["--resume"]), &["1 image came (a/01.png) and 1 image went (a/00.png)"]);
    std::fs::rename(place.path("data/a/01.png"), place.path("data/a/00.png")).unwrap();
    assert!(checkpoint(&place.path("run")) == bytes, "a refused command changed the checkpoint");
    // A run that is done is done.
    let said = done(&train(&data, &out, &["--resume"]));
    assert!(said.err.contains("going on from step 4") && said.err.contains("done: step 4"), "{}", said.err);
    assert!(checkpoint(&place.path("run")) == bytes);
    println!("scorecard cli --out and --resume: 9 wrong uses named, nothing overwritten");
}

#[test]
fn a_damaged_checkpoint_is_named_and_left_alone() {
    let place = Place::new();
    let data = place.pictures("data", 8);
    let (out, npy) = (place.arg("run"), place.arg("vectors.npy"));
    done(&train(&data, &out, &["--stop-after", "1"]));
    let good = checkpoint(&place.path("run"));
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 4;
    let mut header = good.clone();
    header[100] ^= 1;
    let mut refusals = 0;
    for bytes in [&good[..good.len() / 2], &good[..good.len() - 1], &good[..5], &[], &flipped, &header] {
        place.write("run/last.safetensors", bytes);
        for args in [train(&data, &out, &["--resume"]), vec!["embed", &out, &data, "--out", &npy]] {
            refused(&args, &["last.safetensors", "damaged or", "another copy"]);
            refusals += 1;
        }
        refused(&["knn", &out, "--train", &data, "--test", &data], &["last.safetensors"]);
        assert!(checkpoint(&place.path("run")) == bytes && !place.path("vectors.npy").exists());
    }
    // Put back, it goes on.
    place.write("run/last.safetensors", &good);
    done(&train(&data, &out, &["--resume"]));
    refused(&["embed", &place.arg("nowhere"), &data, "--out", &npy], &["nowhere", "no checkpoint", "name the folder of a run"]);
    println!(
        "scorecard cli damaged checkpoints: {refusals} refusals that name the file, the file left as it was, a good copy resumes"
    );
}

#[test]
fn without_an_adapter_it_says_what_to_install() {
    let place = Place::new();
    let data = place.pictures("data", 4);
    let out = place.arg("run");
    let found = tool(&["adapters"]).out;
    let name = found.lines().next().unwrap().split(": ").nth(1).unwrap().to_owned();
    refused(&train(&data, &out, &["--adapter", "nonsense"]), &["no usable graphics adapter", "`nonsense`", &name, "--adapter"]);
    refused(&train(&data, &out, &["--adapter", "77"]), &["`77`", &name]);
    for args in [vec!["adapters"], vec!["adapters", "--json"], train(&data, &out, &[])] {
        let mut command = command(&args);
        for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            command.env(variable, "/nonexistent");
        }
        check_refused(
            &finish(command),
            &["no usable graphics adapter", "no Vulkan, Metal or DX12 driver", "mesa-vulkan-drivers"],
        );
    }
    assert!(!place.path("run").exists());
    println!("scorecard cli adapters: a wrong name lists those there are; no driver names the package to install");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_last_checkpoint() {
    struct Mount(std::path::PathBuf);
    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(&self.0).status();
        }
    }
    let place = Place::new();
    let disk = place.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("scorecard cli full disk: NOT TESTED, no tmpfs can be mounted here");
        return;
    }
    let _mount = Mount(disk.clone());
    let data = place.pictures("data", 8);
    // Too large from the start.
    let large = ["train", &data, "--out", &place.arg("disk/large"), "--width", "16", "--size", "16", "--batch", "4"];
    refused(&large, &["last.safetensors", "No space left"]);
    // The same command finds a folder that it may begin again, and the disk as full.
    refused(&large, &["last.safetensors", "No space left"]);
    std::fs::remove_dir_all(disk.join("large")).unwrap();
    // Full in the middle.
    let out = place.arg("disk/run");
    done(&train(&data, &out, &["--stop-after", "1"]));
    let bytes = checkpoint(&disk.join("run"));
    let mut filler = vec![0u8; 1 << 20];
    while std::fs::write(disk.join("filler"), &filler).is_err() {
        filler.truncate(filler.len() - 4096);
    }
    refused(&train(&data, &out, &["--resume"]), &["run", "No space left"]);
    assert!(checkpoint(&disk.join("run")) == bytes, "the old checkpoint was lost");
    std::fs::remove_file(disk.join("filler")).unwrap();
    let said = done(&train(&data, &out, &["--resume"]));
    assert!(said.err.contains("going on from step 2"), "{}", said.err);
    let names: Vec<_> = std::fs::read_dir(disk.join("run")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "litter: {names:?}");
    println!(
        "scorecard cli full disk (1 MiB tmpfs): named error at the start and in the middle, old checkpoint byte-equal, resumes when there is room, no litter"
    );
}
