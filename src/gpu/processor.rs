//! The processor that a software adapter runs on.

use std::time::Instant;

/// Model, threads and vector instructions of this machine's processor, as `AMD EPYC, 2 threads, avx2 fma`.
pub fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let vectors = vectors().join(" ");
    let vectors = if vectors.is_empty() { "no vector instructions known" } else { &vectors };
    format!("{model}, {threads} thread{}, {vectors}", if threads == 1 { "" } else { "s" })
}

/// The model's name, where the system says it.
fn model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn vectors() -> Vec<&'static str> {
    use std::arch::is_x86_feature_detected as has;
    let all = [("avx", has!("avx")), ("avx2", has!("avx2")), ("fma", has!("fma")), ("avx512f", has!("avx512f"))];
    let all = all.into_iter().chain([("avx512vl", has!("avx512vl"))]);
    all.filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(target_arch = "aarch64")]
fn vectors() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected as has;
    [("neon", has!("neon")), ("sve", has!("sve"))].into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn vectors() -> Vec<&'static str> {
    Vec::new()
}

/// Bytes a second that the processor copies by itself, on all its threads, read and written together: the best of five times 64 MiB.
pub fn copy_rate() -> f64 {
    const WORDS: usize = 16 << 20;
    let from = vec![1u32; WORDS];
    let mut to = vec![0u32; WORDS];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = WORDS.div_ceil(threads);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for (from, to) in from.chunks(part).zip(to.chunks_mut(part)) {
                scope.spawn(move || to.copy_from_slice(from));
            }
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    std::hint::black_box(&to);
    (2 * 4 * WORDS) as f64 / best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_named_and_copies() {
        let text = processor();
        assert!(text.contains(" thread") && !text.starts_with(','), "{text}");
        assert!(copy_rate() > 1e6);
    }
}
