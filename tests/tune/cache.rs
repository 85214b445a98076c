//! The file that keeps what was found.

use crate::{few, gpu, tuned};
use instdisc::gpu::{Choices, Gpu};
use instdisc::ops::Problem;
use instdisc::train::tune::{Basis, Cache, Candidate, Effort, Found, Tuner};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The file of this adapter in `folder`.
fn file(folder: &Path) -> PathBuf {
    Cache::open(folder, gpu()).0.path().unwrap().to_owned()
}

/// A folder with what a full tuning of [`few`] found.
fn filled() -> (tempfile::TempDir, Vec<Found>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut cache, word) = Cache::open(folder.path(), gpu());
    assert!(word.is_none() && cache.is_empty());
    let report = Tuner::new(gpu(), Effort::Full).run(&few(), &mut cache, &mut |_, _| {});
    cache.save().unwrap();
    (folder, report.found)
}

fn known(cache: &Cache, effort: Effort) -> BTreeMap<String, Found> {
    let found = few().into_iter().filter_map(|problem| cache.found(gpu(), &problem, effort));
    found.map(|found| (found.problem.clone(), found)).collect()
}

fn same(a: &Found, b: &Found) -> bool {
    (&a.problem, &a.algorithm, &a.preferred, a.tried, a.candidates)
        == (&b.problem, &b.algorithm, &b.preferred, b.tried, b.candidates)
}

#[test]
fn what_was_found_is_known_at_the_next_start() {
    let (folder, found) = filled();
    let start = Instant::now();
    let (mut cache, word) = Cache::open(folder.path(), gpu());
    assert_eq!(word, None);
    let report = Tuner::new(gpu(), Effort::Full).run(&few(), &mut cache, &mut |_, _| panic!("measured again"));
    let seconds = start.elapsed().as_secs_f64();
    for (before, after) in found.iter().zip(&report.found) {
        assert!(after.basis == Basis::Cached && same(before, after), "{before:?} {after:?}");
        assert!((before.ms.unwrap() - after.ms.unwrap()).abs() < 1e-5);
    }
    println!("scorecard tune second start: {} problems known again in {:.4} s (below 0.1 s)", found.len(), seconds);
    assert!(seconds < 0.1, "{seconds} s");
}

#[test]
fn a_quick_tuning_is_not_taken_for_a_full_one_nor_one_without_winograd_for_one_with_it() {
    let mut cache = Cache::in_memory(gpu());
    let problem = few()[0];
    Tuner::new(gpu(), Effort::Quick).run(&[problem], &mut cache, &mut |_, _| {});
    assert!(cache.found(gpu(), &problem, Effort::Quick).is_some() && cache.found(gpu(), &problem, Effort::Full).is_none());
    let mut without = Choices::default();
    without.allow_winograd(false);
    let without = gpu().with_choices(without);
    assert!(cache.found(&without, &problem, Effort::Quick).is_none());
    Tuner::new(&without, Effort::Full).run(&[problem], &mut cache, &mut |_, _| {});
    assert!(cache.found(&without, &problem, Effort::Full).is_some());
    // What every candidate was tried for is not replaced by less.
    Tuner::new(gpu(), Effort::Full).run(&[problem], &mut cache, &mut |_, _| {});
    Tuner::new(gpu(), Effort::Quick).run(&[problem], &mut cache, &mut |_, _| panic!("measured again"));
    assert_eq!(cache.len(), 2);
}

#[test]
fn less_measured_again_does_not_replace_in_the_file_what_every_candidate_was_tried_for() {
    let (folder, found) = filled();
    let path = file(folder.path());
    let whole = known(&Cache::open(folder.path(), gpu()).0, Effort::Full);
    assert_eq!(whole.len(), found.len());
    let again = || {
        let (mut cache, _) = Cache::open(folder.path(), gpu());
        cache.clear();
        let report = Tuner::new(gpu(), Effort::Quick).budget(600.0).run(&few(), &mut cache, &mut |_, _| {});
        assert!(report.found.iter().all(|found| found.basis == Basis::Measured));
        cache.save().unwrap();
        cache
    };
    again();
    assert!(known(&Cache::open(folder.path(), gpu()).0, Effort::Full) == whole, "lost");
    // Of other kernels it is no answer, and what is measured now is all there is.
    let text = std::fs::read_to_string(&path).unwrap();
    let kernels: u32 =
        text.split_once("\"kernels\":").unwrap().1.split(',').next().unwrap().trim_end_matches('}').parse().unwrap();
    let (own, other) = (format!("\"kernels\":{kernels}"), format!("\"kernels\":{}", kernels.wrapping_add(1)));
    let lines: Vec<_> = text.lines().map(|line| forged(line, &own, &other)).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    again();
    let cache = Cache::open(folder.path(), gpu()).0;
    assert_eq!((known(&cache, Effort::Quick).len(), known(&cache, Effort::Full).len()), (found.len(), 0));
}

#[test]
fn a_full_tuning_that_ran_out_of_time_among_the_candidates_is_not_taken_for_a_whole_one() {
    let problem = few()[0];
    let some = |gpu: &Gpu, problem: &Problem| {
        let mut all = Candidate::all(gpu, problem);
        all.truncate(3);
        let (at, slow) = (*problem, all[1].name().to_owned());
        all[1] = Candidate::new(slow, 2e-6, move |tape, operands| {
            std::thread::sleep(std::time::Duration::from_secs(2));
            at.record(tape, operands)
        });
        all
    };
    let mut cache = Cache::in_memory(gpu());
    let tuner = Tuner::new(gpu(), Effort::Full).candidates(some).budget(3.5);
    let report = tuner.run(&[problem], &mut cache, &mut |_, _| {});
    let found = &report.found[0];
    assert_eq!((found.basis, found.tried, found.candidates), (Basis::Measured, 2, 3), "{found:?}");
    assert!(cache.found(gpu(), &problem, Effort::Quick).is_some() && cache.found(gpu(), &problem, Effort::Full).is_none());
}

#[test]
fn a_damaged_file_is_passed_over_line_by_line() {
    let (folder, _) = filled();
    let path = file(folder.path());
    let good = std::fs::read(&path).unwrap();
    let whole = known(&Cache::open(folder.path(), gpu()).0, Effort::Full);
    let (mut read, mut words) = (0, 0);
    let mut check = |bytes: &[u8], least: usize| {
        std::fs::write(&path, bytes).unwrap();
        let (cache, word) = Cache::open(folder.path(), gpu());
        let found = known(&cache, Effort::Full);
        assert!(found.iter().all(|(problem, one)| *one == whole[problem]), "something else was read");
        assert!(found.len() >= least && found.len() <= whole.len(), "{} of {} lines", found.len(), whole.len());
        // Whoever loses a line is told.
        if found.len() < whole.len() && !bytes.is_empty() && !good.starts_with(bytes) {
            assert!(word.as_ref().is_some_and(|word| word.contains("ignored")), "{word:?}");
        }
        read += 1;
        words += usize::from(word.is_some());
    };
    for length in (0..good.len()).step_by(7).chain([good.len()]) {
        let lines = good[..length].iter().filter(|byte| **byte == b'\n').count();
        check(&good[..length], lines);
    }
    let step = 5;
    for place in (0..good.len()).step_by(step) {
        for bit in [1, 8, 128] {
            let mut bytes = good.clone();
            bytes[place] ^= bit;
            // A line feed that is gone takes two lines with it.
            check(&bytes, whole.len() - if good[place] == b'\n' { 2 } else { 1 });
        }
    }
    for bytes in [&b"{}"[..], b"null\n[]\n", &[0xff; 100], b"{\"checksum\":0,\"entry\":{}}\n"] {
        check(bytes, 0);
    }
    println!("scorecard tune damaged caches: {read} read, {words} with a word, no line read that was not written");
    // It is mended by the next writing.
    std::fs::write(&path, &good[3..]).unwrap();
    let (mut cache, word) = Cache::open(folder.path(), gpu());
    assert!(word.unwrap().contains("1 damaged"));
    cache.save().unwrap();
    let (cache, word) = Cache::open(folder.path(), gpu());
    assert_eq!((cache.len(), word), (whole.len() - 1, None));
}

/// `line` with a part of its entry replaced and its checksum made right again.
fn forged(line: &str, from: &str, to: &str) -> String {
    let entry = line.split_once("\"entry\":").unwrap().1.strip_suffix('}').unwrap();
    assert!(entry.contains(from), "{entry}");
    let entry = entry.replacen(from, to, 1);
    format!("{{\"checksum\":{},\"entry\":{entry}}}", crc32c::crc32c(entry.as_bytes()))
}

#[test]
fn lines_of_other_adapters_drivers_and_versions_are_passed_over() {
    let (folder, found) = filled();
    let path = file(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let facts = gpu().facts();
    // A text with a letter more, a number with a one more than it has.
    let letter = |name: &str, value: &str| (format!("\"{name}\":\"{value}"), format!("\"{name}\":\"{value}x"));
    let number = |name: &str| {
        let rest = text.split_once(&format!("\"{name}\":")).unwrap().1;
        let value: u32 = rest.split([',', '}']).next().unwrap().parse().unwrap();
        (format!("\"{name}\":{value}"), format!("\"{name}\":{}", value.wrapping_add(1)))
    };
    let own = [
        letter("adapter", &facts.name),
        letter("driver", &facts.driver),
        letter("backend", &facts.backend),
        number("vendor"),
        number("device"),
        number("kernels"),
    ];
    for (part, other) in &own {
        let lines: Vec<_> = text.lines().map(|line| forged(line, part, other)).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let (cache, word) = Cache::open(folder.path(), gpu());
        assert!(cache.is_empty(), "{part}");
        assert!(word.unwrap().contains(&format!("{} of another", found.len())), "{part}");
    }
    // An algorithm that this adapter does not have is no answer.
    let odd = forged(text.lines().next().unwrap(), "\"algorithm\":\"", "\"algorithm\":\"tensor cores ");
    std::fs::write(&path, odd).unwrap();
    let (cache, word) = Cache::open(folder.path(), gpu());
    assert_eq!((cache.len(), word, known(&cache, Effort::Quick).len()), (1, None, 0));
    println!("scorecard tune foreign caches: {} kinds passed over with a word", own.len());
}

#[test]
fn several_writers_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let problems = few();
    let path = folder.path();
    std::thread::scope(|scope| {
        for one in &problems {
            scope.spawn(move || {
                for _ in 0..5 {
                    let (mut cache, word) = Cache::open(path, gpu());
                    assert_eq!(word, None, "half a file was seen");
                    Tuner::new(gpu(), Effort::Quick).budget(60.0).run(std::slice::from_ref(one), &mut cache, &mut |_, _| {});
                    assert!(cache.found(gpu(), one, Effort::Quick).is_some());
                    cache.save().unwrap();
                }
            });
        }
    });
    let (cache, word) = Cache::open(path, gpu());
    assert_eq!(word, None);
    let kept = problems.iter().filter(|problem| cache.found(gpu(), problem, Effort::Quick).is_some()).count();
    assert!(kept > 0, "the last writer's own line is there");
    let litter = std::fs::read_dir(path).unwrap().count();
    assert_eq!(litter, 1, "temporary files stay");
    println!("scorecard tune writers: {} at once, five times each, the file is whole ({kept} lines kept)", problems.len());
}

#[test]
fn an_export_is_taken_over_elsewhere() {
    let (folder, found) = filled();
    let export = folder.path().join("export.jsonl");
    assert_eq!(Cache::open(folder.path(), gpu()).0.export(&export).unwrap(), found.len());
    let elsewhere = tempfile::tempdir().unwrap();
    let (mut cache, _) = Cache::open(&elsewhere.path().join("deep/down"), gpu());
    let (count, ignored) = cache.import(&export).unwrap();
    assert_eq!((count, ignored.damaged, ignored.foreign), (found.len(), 0, 0));
    cache.save().unwrap();
    let (cache, _) = Cache::open(&elsewhere.path().join("deep/down"), gpu());
    assert!(
        known(&cache, Effort::Full)
            .values()
            .zip(known(&Cache::open(folder.path(), gpu()).0, Effort::Full).values())
            .all(|(a, b)| a == b)
    );
    // Nothing of use is an error, as is a file that is not there.
    let (mut empty, _) = Cache::open(elsewhere.path(), gpu());
    std::fs::write(&export, "words\n").unwrap();
    let refused = empty.import(&export).unwrap_err().to_string();
    assert!(refused.contains("export.jsonl") && refused.contains("1 damaged"), "{refused}");
    assert!(empty.import(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("/nowhere/at/all"));
}

/// A folder that cannot be used costs a word, not the tuning.
#[test]
fn a_file_in_the_folders_place_is_an_error_of_saving_alone() {
    let place = tempfile::tempdir().unwrap();
    let blocked = place.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    let (mut cache, word) = Cache::open(&blocked, gpu());
    assert!(cache.is_empty() && word.is_none_or(|word| word.contains("ignored")));
    let problems: Vec<Problem> = few()[..1].to_vec();
    Tuner::new(gpu(), Effort::Quick).run(&problems, &mut cache, &mut |_, _| {});
    assert!(cache.save().unwrap_err().to_string().contains("file"));
    assert_eq!(std::fs::read(&blocked).unwrap(), b"x");
    assert!(tuned(&Tuner::new(gpu(), Effort::Quick), &problems).found[0].ms.is_some());
}
