//! R29: every truncation and every flipped bit is seen, by the strict reader and by the one that takes other programs' files.

use crate::sample;
use instdisc::checkpoint::{File, Tensor};

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let mut file = sample(1, 1);
    let floats = |n: usize| Tensor::f32(&[n], &(0..n).map(|i| i as f32).collect::<Vec<_>>());
    for i in 0..15 {
        file.tensors.insert(format!("layer{i}.weight"), floats(1000).unwrap());
    }
    let mut rest = 1000;
    let bytes = loop {
        file.tensors.insert("rest".into(), Tensor::u8(&[rest], &vec![9; rest]).unwrap());
        let bytes = file.encode().unwrap();
        if bytes.len() == 1 << 16 {
            break bytes;
        }
        rest = rest + (1 << 16) - bytes.len();
    };
    assert_eq!(bytes.len(), 1 << 16);
    assert!(File::decode("x", &bytes).unwrap().verified());
    let seen = |bytes: &[u8]| File::decode("x", bytes).is_err() && File::decode_own("x", bytes).is_err();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let flips: usize = std::thread::scope(|scope| {
        let work = |part: usize| {
            let (mut bytes, mut found) = (bytes.clone(), 0);
            for bit in (part..bytes.len() * 8).step_by(threads) {
                bytes[bit / 8] ^= 1 << (bit % 8);
                found += usize::from(seen(&bytes));
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            found
        };
        let parts: Vec<_> = (0..threads).map(|part| scope.spawn(move || work(part))).collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    let cuts = (0..bytes.len()).filter(|&length| seen(&bytes[..length])).count();
    println!("scorecard R29 refused {flips}/{} flips, {cuts}/{} truncations", bytes.len() * 8, bytes.len());
    assert_eq!((flips, cuts), (bytes.len() * 8, bytes.len()));
}
