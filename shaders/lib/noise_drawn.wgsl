// noise_drawn: the rows of noise of a sample, four at a time, drawn evenly and with replacement as negatives.wgsl draws them.

@group(0) @binding(17) var<storage, read> step: Step;

const STREAM = 5u; // Stream::Negatives

// What the draws of a sample share. It is read once: llvmpipe would load it for every lane in every round of a loop.
struct Noise {
    key: vec2<u32>,
    number: u32,
    first: u32,
    rows: u32,
    skipped: u32,
}

fn noise_of(b: u32) -> Noise {
    let skipped = select(params.n, own[b], params.exclude != 0u);
    return Noise(stream_key(step, STREAM), step.number, b * ((params.negatives + 3u) / 4u), params.n - params.exclude, skipped);
}

// The rows 4 quad .. 4 quad + 4; those past the last are not to be used.
fn noise(draw: Noise, quad: u32) -> vec4<u32> {
    let words = random(draw.key, draw.number, draw.first + quad);
    let drawn = vec4<u32>(below(words.x, draw.rows), below(words.y, draw.rows), below(words.z, draw.rows), below(words.w, draw.rows));
    return drawn + vec4<u32>(drawn >= vec4<u32>(draw.skipped));
}
