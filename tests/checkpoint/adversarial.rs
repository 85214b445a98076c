//! R31: files made to hurt a reader. Each has its expected outcome, a hundredth of a second or so, and bounded memory.

use crate::codec::foreign;
use crate::sample;
use instdisc::checkpoint::File;
use std::time::{Duration, Instant};

/// A file, and the words of its refusal; no words: it is taken, and does no harm.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) words: &'static str,
}

/// A file with the seal that our writer puts on, correct in itself: an attacker can do sums, too.
fn sealed(rest_of_header: &str, data: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"__metadata__":{{"crc32c.header":"00000000"{rest_of_header}"#);
    let mut bytes = foreign(&header, &[]);
    let sum = format!("{:08x}", crc32c::crc32c(&bytes));
    let at = 8 + header.find("00000000").unwrap();
    bytes[at..at + 8].copy_from_slice(sum.as_bytes());
    [&bytes, data].concat()
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, bytes, words| cases.push(Case { name, bytes, words });
    let one = |entry: &str| format!(r#"{{"a":{entry}}}"#);
    let ours = sample(1, 10).encode().unwrap();
    let prefix = |n: u64, rest: &[u8]| [&n.to_le_bytes()[..], rest].concat();
    let many = |n: usize| {
        let entries: Vec<_> = (0..n).map(|i| format!(r#""{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)).collect();
        foreign(&format!("{{{}}}", entries.join(",")), &[])
    };

    case("empty file", vec![], "too few");
    case("seven bytes", vec![0; 7], "too few");
    case("eight zeros", vec![0; 8], "does not begin");
    case("header length 2^64-1", prefix(u64::MAX, &[0; 100]), "over 1 MiB");
    case("header length 2^63", prefix(1 << 63, &[0; 100]), "over 1 MiB");
    case("header length one over the file", prefix(3, b"{}"), "longer than the file");
    case("header of 1 MiB and one byte", foreign(&format!("{{}}{}", " ".repeat((1 << 20) - 1)), &[]), "over 1 MiB");
    case("header of 1 MiB of spaces behind braces", foreign(&format!("{{}}{}", " ".repeat((1 << 20) - 2)), &[]), "");
    case("no tensors", foreign("{}", &[]), "");
    case("a JSON array", foreign("[]", &[]), "does not begin");
    case("leading space", foreign(" {}", &[]), "does not begin");
    case("two objects", foreign("{}{}", &[]), "trailing");
    case("unfinished object", foreign(r#"{"a":"#, &[]), "EOF");
    case("not UTF-8", [&prefix(6, b"{\"\xff\":1")[..]].concat(), "header is wrong");
    case("half a surrogate", foreign(r#"{"\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, &[]), "header is wrong");
    case("nesting in a tensor", foreign(&one(&"[".repeat(500_000)), &[]), "header is wrong");
    case("nesting in a shape", foreign(&one(&format!(r#"{{"shape":{}"#, "[".repeat(500_000))), &[]), "header is wrong");
    case("nesting in metadata", foreign(&format!(r#"{{"__metadata__":{}"#, "{\"a\":".repeat(100_000)), &[]), "header is wrong");
    case("nesting in an unknown field", foreign(&one(&format!(r#"{{"x":{}"#, "[".repeat(500_000))), &[]), "unknown");
    case("metadata with a number", foreign(r#"{"__metadata__":{"a":1}}"#, &[]), "expected a string");
    case(
        "metadata as a tensor",
        foreign(r#"{"__metadata__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, &[]),
        "expected a string",
    );
    case("metadata twice", foreign(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]), "twice");
    case("metadata key twice", foreign(r#"{"__metadata__":{"a":"1","\u0061":"2"}}"#, &[]), "twice");
    let byte = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    case("name twice", foreign(&format!(r#"{{"a":{byte},"a":{byte}}}"#), &[0]), "twice");
    case("name twice, once escaped", foreign(&format!(r#"{{"a":{byte},"\u0061":{byte}}}"#), &[0]), "twice");
    case("field twice", foreign(&one(r#"{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}"#), &[0]), "twice");
    case("missing field", foreign(&one(r#"{"dtype":"U8","shape":[1]}"#), &[0]), "missing");
    case("unknown type", foreign(&one(r#"{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}"#), &[0; 2]), "convert");
    case("type in small letters", foreign(&one(r#"{"dtype":"f32","shape":[1],"data_offsets":[0,4]}"#), &[0; 4]), "convert");
    case("type as a number", foreign(&one(r#"{"dtype":7,"shape":[1],"data_offsets":[0,4]}"#), &[0; 4]), "expected a string");
    case("negative offset", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}"#), &[0]), "header is wrong");
    case("offsets swapped", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[1,0]}"#), &[0]), "does not fit");
    case("three offsets", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}"#), &[0]), "header is wrong");
    case("offset 1e400", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1e400]}"#), &[0]), "header is wrong");
    case("offset 1.0", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1.0]}"#), &[0]), "header is wrong");
    case(
        "offsets 2^64-2, 2^64-1",
        foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}"#), &[0]),
        "hole",
    );
    case(
        "shape does not fit the offsets",
        foreign(&one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#), &[0; 4]),
        "does not fit",
    );
    case(
        "five dimensions",
        foreign(&one(r#"{"dtype":"U8","shape":[1,1,1,1,1],"data_offsets":[0,1]}"#), &[0]),
        "four are allowed",
    );
    let deep = format!(r#"{{"dtype":"U8","shape":[1{}],"data_offsets":[0,1]}}"#, ",1".repeat(500_000));
    case("half a million dimensions", foreign(&one(&deep), &[0]), "four are allowed");
    case("dimension 2^31", foreign(&one(r#"{"dtype":"U8","shape":[2147483648,0],"data_offsets":[0,0]}"#), &[]), "too large");
    case(
        "zero times 2^63-1 twice",
        foreign(&one(r#"{"dtype":"U8","shape":[0,9223372036854775807,9223372036854775807],"data_offsets":[0,0]}"#), &[]),
        "too large",
    );
    case(
        "product overflows to the right size",
        foreign(&one(r#"{"dtype":"U8","shape":[2147483647,2147483647,2147483647,8],"data_offsets":[0,8]}"#), &[0; 8]),
        "too large",
    );
    case(
        "2^40 elements and no data",
        foreign(&one(r#"{"dtype":"U8","shape":[1048576,1048576],"data_offsets":[0,1099511627776]}"#), &[]),
        "truncated",
    );
    case("zero dimension", foreign(&one(r#"{"dtype":"U8","shape":[0,5],"data_offsets":[0,0]}"#), &[]), "");
    case("scalar", foreign(&one(r#"{"dtype":"U8","shape":[],"data_offsets":[0,1]}"#), &[0]), "");
    case("hole at the start", foreign(&one(r#"{"dtype":"U8","shape":[1],"data_offsets":[1,2]}"#), &[0; 2]), "hole");
    let two = |from: u32| {
        format!(
            r#"{{"a":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}},"b":{{"dtype":"U8","shape":[2],"data_offsets":[{from},{}]}}}}"#,
            from + 2
        )
    };
    case("hole between", foreign(&two(3), &[0; 5]), "hole");
    case("overlap", foreign(&two(1), &[0; 3]), "overlaps");
    case("two tensors, one place", foreign(&two(0), &[0; 2]), "overlaps");
    case("zero-size tensor beyond the end", foreign(&one(r#"{"dtype":"U8","shape":[0],"data_offsets":[9,9]}"#), &[]), "hole");
    case("trailing byte", foreign(&one(byte), &[0; 2]), "after its last tensor");
    case("one byte short", foreign(&one(byte), &[]), "truncated");
    let name = |n: usize| format!(r#"{{"{}":{byte}}}"#, "n".repeat(n));
    case("name of 257 bytes", foreign(&name(257), &[0]), "256 bytes");
    case("name of 256 bytes", foreign(&name(256), &[0]), "");
    case("empty name", foreign(&name(0), &[0]), "");
    case("name that is a path", foreign(&format!(r#"{{"../../etc/passwd":{byte}}}"#), &[0]), "");
    case("4,096 tensors", many(4096), "");
    case("4,097 tensors", many(4097), "more than 4096");
    case("1.5 million tensors", many(1_500_000), "over 1 MiB");
    case("pickle", b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.".to_vec(), "over 1 MiB");
    case("ours with the header's checksum renamed", replaced(&ours, "crc32c.header", "crc32c.headex"), "marks of our format");
    case("ours with the format renamed", replaced(&ours, "instdisc-checkpoint-1", "instdisc-checkpoint-0"), "header's checksum");
    case(
        "ours with two tensors' names exchanged",
        replaced(&replaced(&ours, "\"mask\"", "\"half\""), "\"half\"", "\"mask\""),
        "checksum",
    );
    case("sealed, no format", sealed(r#"}}"#, &[]), "version of instdisc");
    case("sealed, format of the future", sealed(r#","format":"instdisc-checkpoint-9"}}"#, &[]), "version of instdisc");
    let entry = format!(r#"}},"a":{byte}}}"#);
    let rest = |sums: &str| format!(r#","crc32c.tensors":"{sums}","format":"instdisc-checkpoint-1"{entry}"#);
    case("sealed, no tensor checksums", sealed(&rest(""), &[0]), "one a tensor");
    case("sealed, a checksum too many", sealed(&rest("527d5351527d5351"), &[0]), "one a tensor");
    case("sealed, checksum with letters", sealed(&rest("527dzzzz"), &[0]), "one a tensor");
    case("sealed, wrong tensor checksum", sealed(&rest("00000000"), &[0]), "checksum of tensor `a`");
    case("sealed, right", sealed(&rest("527d5351"), &[0]), "");
    case("sealed, name twice", sealed(&rest("527d5351").replace("}}", &format!("}},\"a\":{byte}}}")), &[0]), "twice");
    case(
        "sealed, cut within the digits",
        replaced(&foreign(r#"{"__metadata__":{"crc32c.header":"1234"#, &[]), "1234", "1234"),
        "checksum",
    );
    cases
}

#[test]
fn adversarial_files_are_refused_or_harmless() {
    let mut slowest = (Duration::ZERO, "");
    let cases = cases();
    for Case { name, bytes, words } in &cases {
        let attempt = || {
            let start = Instant::now();
            (File::decode("evil.safetensors", bytes), start.elapsed())
        };
        let (result, mut time) = attempt();
        for _ in 0..4 {
            time = time.min(attempt().1); // the machine may be busy with something else
        }
        match result {
            Ok(_) => assert!(words.is_empty(), "{name}: accepted, expected `{words}`"),
            Err(e) => {
                let text = e.to_string();
                assert!(!words.is_empty() && text.contains(words), "{name}: {text}; expected `{words}`");
                assert!(text.starts_with("checkpoint evil.safetensors (byte "), "{name}: {text}");
                assert!(text.contains("use an") || text.contains("read it with") || text.contains("convert"), "{name}: {text}");
            }
        }
        assert!(time < Duration::from_millis(100), "{name}: {time:?}");
        slowest = slowest.max((time, name));
        assert!(*name == "sealed, right" || File::decode_own("x", bytes).is_err(), "{name}: the strict reader took it");
    }
    println!(
        "scorecard R31 {} of {} adversarial files refused or harmless, slowest {:?} ({})",
        cases.len(),
        cases.len(),
        slowest.0,
        slowest.1
    );
    assert!(cases.len() >= 40);
}
