//! Label files: the eight mistakes and odd forms, and that no bytes make the parser panic.

use crate::{memory, missed, refusal, says};
use instdisc::Result;
use instdisc::data::{Dataset, LabelFile, LabelRules, Labelled, Labels, MAX_CLASSES};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a.png", "b.png", "c.png"];

fn parse(text: impl AsRef<[u8]>) -> Result<LabelFile> {
    LabelFile::parse("labels.csv", text.as_ref())
}

fn apply(text: impl AsRef<[u8]>, classes: Option<u32>) -> Result<Labels> {
    parse(text)?.apply(NAMES, &LabelRules { classes, ..LabelRules::default() })
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, parts: &[&str]) {
    says(&refusal(apply(text, None)), &[&["labels.csv: "], parts].concat());
}

#[track_caller]
fn gives(text: impl AsRef<[u8]>, labels: [u32; 3], classes: &[&str]) {
    let applied = apply(text, None).unwrap();
    assert_eq!(applied.labels, labels.map(Some));
    assert_eq!(applied.classes, classes);
}

#[test]
fn names_become_classes_in_their_order_and_numbers_are_classes() {
    gives("c.png,dog\na.png,dog\nb.png,cat\n", [1, 0, 1], &["cat", "dog"]);
    gives("a.png\t0\nb.png\t3\nc.png\t1", [0, 3, 1], &["0", "1", "2", "3"]);
    gives("a.png,1\nb.png,x\nc.png,1", [0, 1, 0], &["1", "x"]);
    assert_eq!(apply("a.png,0\nb.png,1\nc.png,1", Some(5)).unwrap().classes.len(), 5);
}

#[test]
fn the_first_tab_or_the_last_comma_separates() {
    let file = parse("x, y.png,cat\nz.png\tcat, or dog\n").unwrap();
    let labels = file.apply(["x, y.png", "z.png"], &LabelRules::default()).unwrap();
    assert_eq!(labels.classes, ["cat", "cat, or dog"]);
    refused("a.png cat", &["line 1", "neither a tab nor a comma"]);
    refused("a.png,1\n,2", &["line 2", "empty"]);
    refused("a.png,1\nb.png,", &["line 2", "empty"]);
}

/// R36: the eight faults and oddities of label files.
const FAULTS: [(&str, fn()); 8] = [
    ("missing", an_image_without_a_label_is_named),
    ("extra", a_label_without_an_image_is_named_with_its_line),
    ("out of range", a_label_past_the_classes_is_named_with_its_line),
    ("duplicate", a_second_label_is_named_with_both_lines),
    ("not UTF-8", what_is_not_utf8_is_named_with_its_line),
    ("BOM", a_bom_is_tolerated_at_the_start_only),
    ("CRLF", crlf_is_tolerated),
    ("trailing blank", trailing_blank_lines_are_tolerated_and_blanks_in_a_label_are_not),
];

#[test]
fn faults_of_labels_are_named_and_oddities_tolerated() {
    let (total, missed) = (FAULTS.len(), missed(&FAULTS));
    println!(
        "scorecard R36 {} of {total} faults and oddities of label files are named, with their line, or tolerated, as stated",
        total - missed.len()
    );
    assert!(missed.is_empty(), "{missed:?}");
}

fn an_image_without_a_label_is_named() {
    refused("b.png,1\n", &["no label for `a.png`", "images without a label: 2"]);
    let rules = LabelRules { allow_missing: true, ..LabelRules::default() };
    assert_eq!(parse("b.png,0").unwrap().apply(NAMES, &rules).unwrap().labels, [None, Some(0), None]);
}

fn a_label_without_an_image_is_named_with_its_line() {
    let text = "a.png,1\nd.png,1\nb.png,1\nc.png,1\ne.png,1\n";
    refused(text, &["line 2", "no image `d.png`", "lines that name none: 2"]);
    let rules = LabelRules { allow_extra: true, ..LabelRules::default() };
    assert_eq!(parse(text).unwrap().apply(NAMES, &rules).unwrap().labels, [Some(1); 3]);
}

fn a_label_past_the_classes_is_named_with_its_line() {
    let text = "a.png,0\nb.png,1\nc.png,2\n";
    says(&refusal(apply(text, Some(2))), &["line 3", "label 2 is out of range", "2 classes"]);
    assert!(apply(text, Some(3)).is_ok());
    says(&refusal(apply("a.png,x\nb.png,y\nc.png,z\n", Some(2))), &["line 3", "`z` is out of range"]);
    // Numbers that are no classes are names, in the order of their values.
    gives(format!("a.png,7\nb.png,{MAX_CLASSES}\nc.png,10"), [0, 2, 1], &["7", "10", "65536"]);
    gives("a.png,0\nb.png,99999999999999999999\nc.png,0", [0, 1, 0], &["0", "99999999999999999999"]);
    says(&refusal(apply(format!("a.png,0\nb.png,{MAX_CLASSES}\nc.png,0"), Some(9))), &["line 2", "out of range"]);
    assert_eq!(apply(format!("a.png,0\nb.png,{}\nc.png,0", MAX_CLASSES - 1), None).unwrap().classes.len(), MAX_CLASSES as usize);
}

fn a_second_label_is_named_with_both_lines() {
    refused("a.png,1\nb.png,1\nc.png,1\na.png,1\n", &["line 4", "`a.png`", "line 1"]);
}

fn what_is_not_utf8_is_named_with_its_line() {
    refused(b"a.png,1\nb.png,\xe9t\xe9\n", &["line 2", "not UTF-8"]);
    let wide: Vec<u8> = "\u{feff}a.png,1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(wide, &["line 1", "not UTF-8"]);
}

fn a_bom_is_tolerated_at_the_start_only() {
    gives("\u{feff}a.png,x\nb.png,x\nc.png,x\n", [0; 3], &["x"]);
    refused("a.png,1\n\u{feff}b.png,1\nc.png,1\n", &["no label for `b.png`"]);
}

fn crlf_is_tolerated() {
    gives("a.png,x\r\nb.png,y\r\nc.png,x\r\n", [0, 1, 0], &["x", "y"]);
}

fn trailing_blank_lines_are_tolerated_and_blanks_in_a_label_are_not() {
    gives("a.png,x\nb.png,x\nc.png,x\n\n\r\n\n", [0; 3], &["x"]);
    refused("a.png,x\n\nb.png,x\nc.png,x\n", &["line 2", "empty"]);
    refused("a.png,x\nb.png,x \nc.png,x\n", &["line 2", "begins or ends with a blank"]);
    refused("a.png,x\nb.png, x\nc.png,x\n", &["line 2", "blank"]);
    refused("a.png\tx\t\nb.png\tx\nc.png\tx\n", &["line 1", "blank"]);
}

#[test]
fn a_file_without_labels_or_no_file_is_refused() {
    for text in ["", "\n\n", "\u{feff}", "\r\n"] {
        refused(text, &["the label file is empty"]);
    }
    let root = tempfile::tempdir().unwrap();
    says(&refusal(LabelFile::read(root.path().join("none.csv"))), &["reading the label file", "none.csv"]);
    let file = root.path().join("labels.csv");
    std::fs::write(&file, "0,x\n1,y\n").unwrap();
    let set = memory(2);
    let labels = LabelFile::read(&file).unwrap().apply((0..2).map(|i| set.name(i)), &LabelRules::default()).unwrap();
    let set = Labelled::new(Box::new(memory(2)), labels.clone()).unwrap();
    assert_eq!((set.label(0), set.label(1), set.label(2), set.classes().len()), (Some(0), Some(1), None, 2));
    assert_eq!(set.image(1).unwrap(), memory(2).image(1).unwrap());
    assert!(Labelled::new(Box::new(memory(3)), labels).is_err());
    assert!(Labelled::new(Box::new(memory(1)), Labels { labels: vec![Some(0)], classes: vec![] }).is_err());
}

#[test]
fn fields_in_quotes_are_read_as_pandas_writes_them() {
    let apply = |text: &str, names: &[&str]| {
        let labels = parse(text).unwrap().apply(names.iter().copied(), &LabelRules::default()).unwrap();
        labels.labels.iter().map(|label| labels.classes[label.unwrap() as usize].clone()).collect::<Vec<_>>()
    };
    let names = ["a,b.png", "say \"a\".png", "c.png", "d.png", "\"e.png"];
    let text = "\"a,b.png\",cat\n\"say \"\"a\"\".png\",\"cat, or \"\"dog\"\"\"\nc.png,\"x,y\"\n\"d.png\",\"dog\"\n\"e.png\tcat\n";
    assert_eq!(apply(text, &names), ["cat", "cat, or \"dog\"", "x,y", "dog", "cat"]);
}

#[test]
fn names_in_other_forms_are_matched_where_only_one_image_can_be_meant() {
    let apply = |text: &str, names: &[&str]| parse(text)?.apply(names.iter().copied(), &LabelRules::default());
    let (apart, together) = ("cafe\u{301}.png", "caf\u{e9}.png");
    for (line, name) in
        [(apart, together), (together, apart), ("./a.png", "a.png"), ("a\\b.png", r"a\\b.png"), (r"a\n.png", r"a\n.png")]
    {
        assert_eq!(apply(&format!("{line}\tcat"), &[name]).unwrap().labels, [Some(0)], "{line} for {name}");
    }
    // Both are there: each has its own line, and one line alone names the one that is written so.
    let both = apply(&format!("{apart},x\n{together},y"), &[together, apart]).unwrap();
    assert_eq!(both.labels, [Some(1), Some(0)]);
    // Two lines for one image, whatever they call it.
    says(&refusal(apply("a.png,x\n./a.png,y", &["a.png"])), &["line 2", "`./a.png` names the image of line 1 again"]);
    // Two images that only look alike, and a line in a third form.
    let (one, other, third) = ("\u{1e69}.png", "s\u{323}\u{307}.png", "s\u{307}\u{323}.png");
    says(&refusal(apply(&format!("{third},x"), &[one, other])), &["line 1", "two images whose names look the same", "rename"]);
}

#[test]
fn what_the_names_look_like_is_said_where_they_do_not_match() {
    for (text, parts) in [
        ("/data/cat/1.png,0\n/data/cat/2.png,0", &["look like `/data/cat/1.png`, the images' like `cat/1.png`"][..]),
        ("cat\\1.png,0\ncat\\2.png,0", &[r"look like `cat\1.png`"]),
        ("1,0\n2,0", &["look like `1`, the images' like `cat/1.png`", "name the images, not the rows"]),
        ("filename,label\ncat/1.png,x\ncat/2.png,x", &["line 1", "no image `filename`", "header"]),
        ("cat/\x1b[31m1.png,0\nb,0", &[r"`cat/\u{1b}[31m1.png`"]),
    ] {
        let rules = LabelRules { allow_missing: true, ..LabelRules::default() };
        says(&refusal(parse(text).unwrap().apply(["cat/1.png", "cat/2.png"], &rules)), parts);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = apply(&bytes, None);
    }

    #[test]
    fn what_is_read_is_consistent(text in "(\u{feff})?([abc][.]png[\t,][ 0-9xy]{0,3}(\r)?\n?){0,6}", classes in prop::option::of(0u32..12)) {
        let rules = LabelRules { classes, allow_missing: true, allow_extra: true };
        if let Ok(labels) = parse(&text).and_then(|file| file.apply(NAMES, &rules)) {
            prop_assert_eq!(labels.labels.len(), 3);
            prop_assert!(labels.labels.iter().flatten().all(|&label| (label as usize) < labels.classes.len()));
            prop_assert!(classes.is_none_or(|classes| labels.classes.len() <= classes as usize));
        }
    }
}
