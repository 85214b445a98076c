// noise_drawn: the j-th row of noise of sample b, drawn evenly and with replacement as negatives.wgsl draws it.

@group(0) @binding(17) var<storage, read> step: Step;

const STREAM = 5u; // Stream::Negatives

fn noise(b: u32, j: u32) -> u32 {
    let words = random(stream_key(step, STREAM), step.number, b * ((params.negatives + 3u) / 4u) + j / 4u);
    let pair = select(words.xy, words.zw, (j & 2u) != 0u);
    let row = below(select(pair.x, pair.y, (j & 1u) != 0u), params.n - params.exclude);
    return row + select(0u, 1u, params.exclude != 0u && row >= own[b]);
}
