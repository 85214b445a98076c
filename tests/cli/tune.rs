//! `tune`, and `--tune` and `--winograd` of other commands.

use crate::{Place, Said, check_refused, checkpoint, command, done, finish, train};
use serde_json::Value;

/// Run with the cache in `place`.
fn tool(place: &Place, args: &[&str]) -> Said {
    let mut command = command(args);
    command.env("INSTDISC_CACHE", place.path("cache"));
    finish(command)
}

#[track_caller]
fn works(place: &Place, args: &[&str]) -> Said {
    let said = tool(place, args);
    assert_eq!(said.code, Some(0), "{args:?}\n{}", said.err);
    said
}

/// A network whose problems are small.
const SMALL: [&str; 11] = ["tune", "--width", "4", "--size", "16", "--batch", "2", "--images", "50", "--dim", "16"];

fn tune<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL, more].concat()
}

fn rows(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn caches(place: &Place) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(place.path("cache")).map_or(Vec::new(), |entries| entries.map(|e| e.unwrap().path()).collect())
}

#[test]
fn problems_are_tuned_once_and_known_at_the_second_start() {
    let place = Place::new();
    let first = rows(&works(&place, &tune(&["--json", "--full"])));
    assert_eq!(first.len(), 35);
    for row in &first {
        let found = &row["found"];
        assert_eq!(found["basis"], "measured", "{row}");
        assert!(found["ms"].as_f64().unwrap() > 0.0 && row["gain"].as_f64().unwrap() >= 1.0, "{row}");
        assert_eq!(found["left_out"], Value::Array(Vec::new()), "{row}");
        assert_eq!(found["tried"], found["candidates"]);
    }
    let again = works(&place, &tune(&["--json", "--quick"]));
    assert!(again.err.contains("35 problems, 0 to measure"), "{}", again.err);
    for (before, after) in first.iter().zip(rows(&again)) {
        assert_eq!(after["found"]["basis"], "cached");
        assert_eq!(before["found"]["algorithm"], after["found"]["algorithm"]);
    }
    // For people.
    let table = works(&place, &tune(&[])).out;
    assert!(table.lines().next().unwrap().starts_with("problem") && table.lines().count() == 37, "{table}");
    let seconds: f64 = table.lines().last().unwrap().split(" in ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    println!("scorecard cli tune second start: {seconds} s for 35 known problems (below 0.1 s)");
    assert!(seconds < 0.1);
    // Anew on demand.
    assert!(works(&place, &tune(&["--again", "--quick"])).err.contains("35 problems, 35 to measure"));
}

#[test]
fn damaged_and_foreign_caches_cost_a_word() {
    let place = Place::new();
    works(&place, &tune(&["--quick", "--budget", "60"]));
    let [path] = caches(&place).try_into().unwrap();
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[9..]).unwrap();
    let said = works(&place, &tune(&["--quick", "--budget", "60"]));
    assert!(said.err.contains("1 damaged") && said.err.contains("35 problems, 1 to measure"), "{}", said.err);
    let foreign = String::from_utf8(good).unwrap().replace("\"adapter\":\"", "\"adapter\":\"another ");
    std::fs::write(&path, foreign).unwrap();
    let said = works(&place, &tune(&["--quick", "--budget", "0"]));
    assert!(said.err.contains("lines ignored: ") && said.err.contains("35 problems, 35 to measure"), "{}", said.err);
    assert!(said.err.contains("no time was left for 35 of 35 problems"), "{}", said.err);
    println!("scorecard cli tune damaged and foreign caches: a word on standard error, the rest used");
}

#[test]
fn exports_are_imported_and_wrong_uses_are_named() {
    let (here, there) = (Place::new(), Place::new());
    let file = here.arg("export.jsonl");
    let said = works(&here, &tune(&["--quick", "--budget", "60", "--export", &file]));
    assert!(said.err.contains("export.jsonl: 35 measurements"), "{}", said.err);
    let said = works(&there, &tune(&["--quick", "--import", &file]));
    assert!(said.err.contains("35 measurements taken over") && said.err.contains("0 to measure"), "{}", said.err);
    here.write("words.txt", b"no export\n");
    check_refused(
        &tool(&there, &tune(&["--import", &here.arg("words.txt")])),
        &["words.txt", "no kernel choices for this adapter"],
    );
    check_refused(&tool(&there, &tune(&["--import", &here.arg("absent")])), &["absent", "No such file"]);
    check_refused(&tool(&there, &tune(&["--budget=-1"])), &["--budget", "at least 0"]);
    check_refused(&tool(&there, &["tune", "--shapes-from", &here.arg("nowhere")]), &["nowhere", "No such file"]);
    check_refused(&tool(&there, &["tune", "--arch", "vgg"]), &["resnet18, resnet34 or resnet50", "vgg"]);
    assert_eq!(tool(&there, &tune(&["--quick", "--full"])).code, Some(2));
    println!("scorecard cli tune export and import: 35 measurements taken over; 5 wrong uses named");
}

#[test]
fn a_tuned_run_keeps_its_kernels() {
    let place = Place::new();
    let data = place.pictures("data", 8);
    let (plain, whole, parts) = (place.arg("plain"), place.arg("whole"), place.arg("parts"));
    works(&place, &train(&data, &plain, &[]));
    assert!(caches(&place).is_empty(), "without --tune no cache is touched");
    // All at once first: under load a run's own twenty seconds may not be enough.
    works(&place, &["tune", "--shapes-from", &plain, "--quick", "--budget", "300"]);
    let said = works(&place, &train(&data, &whole, &["--tune", "quick"]));
    assert!(said.err.contains("kernels: ") && caches(&place).len() == 1, "{}", said.err);
    // From the cache now, and interrupted.
    let said = works(&place, &train(&data, &parts, &["--tune", "quick", "--stop-after", "1"]));
    let seconds: f64 = said.err.split("static table prefers; ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(seconds < 0.1, "{}", said.err);
    let kernels = |run: &str| std::fs::read(place.path(run).join("kernels.json")).unwrap();
    assert!(kernels("whole") == kernels("parts"));
    let table: Value = serde_json::from_slice(&kernels("plain")).unwrap();
    assert!(table["algorithms"].as_object().unwrap().len() > 10);
    let said = works(&place, &train(&data, &parts, &["--resume", "--tune", "quick"]));
    assert!(said.err.contains("for new runs"), "{}", said.err);
    assert!(checkpoint(&place.path("whole")) == checkpoint(&place.path("parts")), "resumed to other bytes");
    assert!(kernels("whole") == kernels("parts"));
    // The problems of a run can be tuned by its folder.
    let said = works(&place, &["tune", "--shapes-from", &plain]);
    assert!(said.err.contains(", 0 to measure"), "{}", said.err);
    // Without Winograd's algorithms the choices are others, measured by themselves.
    let without = place.arg("without");
    done(&train(&data, &without, &["--winograd", "off"]));
    let choices: Value = serde_json::from_slice(&kernels("without")).unwrap();
    assert_eq!(choices["winograd"], false);
    assert!(choices["algorithms"].as_object().unwrap().values().all(|name| !name.as_str().unwrap().contains("winograd")));
    println!("scorecard cli --tune: a tuned run, stopped and resumed, ends with the bytes of an uninterrupted one");
}

#[test]
fn a_dry_run_takes_the_kernels_that_are_known_and_measures_none() {
    let place = Place::new();
    let data = place.pictures("data", 24);
    let out = place.arg("run");
    let dry = |how: &str| works(&place, &[&train(&data, &out, &["--dry-run"])[..], &["--tune", how]].concat()).err;
    assert!(!dry("off").contains("kernels"));
    let said = dry("quick");
    assert!(said.contains("note: no kernel of this run was tuned here yet, and a dry run tunes none"), "{said}");
    assert!(caches(&place).is_empty(), "something was measured");
    works(&place, &train(&data, &out, &["--stop-after", "1"]));
    let tuned = works(&place, &["tune", "--shapes-from", &out, "--budget", "120"]).err;
    let count = tuned.lines().find(|line| line.starts_with("kernels: ")).unwrap().split(' ').nth(1).unwrap();
    let said = dry("quick");
    assert!(said.contains(&format!("kernels: {count} of {count} problems tuned earlier; a dry run tunes none")), "{said}");
    assert!(said.contains("timed steps"), "{said}");
}
