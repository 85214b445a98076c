// noise_given: the j-th row of noise of sample b, as the host wrote it; larger ones are clamped to the last row.

@group(0) @binding(17) var<storage, read> rows: array<u32>;

fn noise(b: u32, j: u32) -> u32 {
    return min(rows[b * params.negatives + j], params.n - 1u);
}
