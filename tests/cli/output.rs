//! What programs read: arrays, JSON.

use crate::{Place, checkpoint, done, refused, refused_option, train};

/// Shape and values of a NumPy file of 32-bit floats.
pub(crate) fn npy(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert_eq!((10 + length) % 64, 0, "numpy wants the data aligned");
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.ends_with('\n') && header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape = shape.split(',').map(|n| n.trim().parse().unwrap()).collect();
    (shape, bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[test]
fn vectors_names_and_json_can_be_read_by_programs() {
    let place = Place::new();
    let data = place.pictures("data", 12);
    let out = place.arg("run");
    let trained = done(&train(&data, &out, &[]));
    assert!(trained.out.is_empty(), "progress goes to standard error: {}", trained.out);
    let before = checkpoint(&place.path("run"));
    for (layer, columns) in [("embedding", 16), ("backbone", 32)] {
        let file = place.arg("vectors.npy");
        done(&["embed", &out, &data, "--out", &file, "--layer", layer, "--batch", "5"]);
        let (shape, values) = npy(&std::fs::read(&file).unwrap());
        assert_eq!((shape.as_slice(), values.len()), (&[12, columns][..], 12 * columns), "{layer}");
        for row in values.chunks(columns) {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            assert!((length - 1.0).abs() <= 1e-5, "{layer}: a vector of length {length}");
        }
        assert!(values.chunks(columns).any(|row| row != &values[..columns]), "all vectors are the same");
        let names = std::fs::read_to_string(place.path("vectors.txt")).unwrap();
        let mut expected: Vec<String> = (0..12).map(|i| format!("{}/{i:02}.png", ["a", "b"][i % 2])).collect();
        expected.sort();
        assert_eq!(names.lines().collect::<Vec<_>>(), expected);
        // The vectors do not depend on the batch.
        let other = place.arg("other.npy");
        done(&["embed", &out, &data, "--out", &other, "--layer", layer, "--batch", "12"]);
        assert!(npy(&std::fs::read(&other).unwrap()).1 == values, "{layer}: another batch gives other vectors");
    }
    refused_option(&["embed", &out, &data, "--out", &place.arg("vectors.npy"), "--labels", "labels.tsv"], "--labels");
    let said = done(&["knn", &out, "--train", &data, "--test", &data, "--json", "-k", "1"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((json["k"].as_u64(), json["queries"].as_u64()), (Some(1), Some(12)));
    // An image is its own nearest neighbour, and does not vote on itself.
    assert!(json["top1"].as_f64().unwrap() < 1.0 && said.err.contains("12 images are in both sets"), "{}{}", said.out, said.err);
    refused(&["knn", &out, "--train", &data, "--test", &data, "-k", "0"], &["-k", "at least 1"]);
    refused(&["knn", &out, "--train", &data, "--test", &data, "--tau", "-1"], &["tau", "above 0"]);
    let flat = place.arg("data/a");
    refused(&["knn", &out, "--train", &flat, "--test", &data], &["data/a", "no labels", "give --labels"]);
    refused(&["knn", &out, "--train", &data, "--test", &flat], &["data/a", "no labels", "give --labels-test"]);
    place.write("test.tsv", (0..6).map(|i| format!("{:02}.png\ta\n", 2 * i)).collect::<String>().as_bytes());
    let judged = done(&["knn", &out, "--train", &data, "--test", &flat, "--labels-test", &place.arg("test.tsv"), "-k", "1"]);
    assert!(
        judged.out.contains("of 6 images") && judged.err.contains("6 images are in both sets"),
        "{}{}",
        judged.out,
        judged.err
    );
    assert!(checkpoint(&place.path("run")) == before, "looking at a run changed it");
    println!("scorecard cli embed and knn: arrays of 12 unit vectors in both layers, names in order, JSON parses");
}

#[test]
fn cases_of_the_benchmark_are_lines_that_programs_read() {
    let small = ["bench", "--width", "4", "--batch", "2", "--json", "--filter"];
    let said = done(&[&small[..], &["sgd"]].concat());
    let rows: Vec<serde_json::Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // The adapter's own rates, of the same run, stand beside whatever is asked for.
    assert_eq!(rows.iter().map(|row| row["case"].as_str().unwrap()).collect::<Vec<_>>(), ["peak.fma", "peak.copy", "sgd"]);
    for row in &rows {
        let numbers = ["median_ms", "fraction_of_peak"].iter().all(|key| row[key].as_f64().is_some_and(|v| v > 0.0));
        let texts = ["shape", "variant", "adapter"].iter().all(|key| row[key].is_string());
        assert!(numbers && texts && (row["gflops"].is_f64() || row["gbps"].is_f64()), "{row}");
    }
    refused(&[&small[..], &["nothing like it"]].concat(), &["--filter", "`nothing like it`", "conv2d"]);
    println!("scorecard cli bench: {} lines with the fields of a case; a filter that nothing meets is refused", rows.len());
}

#[test]
fn adapters_are_listed_for_people_and_programs() {
    let people = done(&["adapters"]).out;
    let json = done(&["adapters", "--json"]).out;
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty());
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row["number"].as_u64(), Some(number as u64));
        let name = row["adapter"]["name"].as_str().unwrap();
        assert!(people.contains(&format!("{number}: {name}")), "{people}");
        assert!(row["adapter"]["max_binding"].as_u64().unwrap() > 0);
    }
    println!("scorecard cli adapters: {} listed, JSON Lines parse", rows.len());
}
