// noise_given: the rows of noise of a sample, four at a time, as the host wrote them; larger ones are clamped to the last row.

@group(0) @binding(17) var<storage, read> rows: array<u32>;

struct Noise {
    first: u32,
    count: u32,
    last: u32,
}

fn noise_of(b: u32) -> Noise {
    return Noise(b * params.negatives, params.negatives, params.n - 1u);
}

// The rows 4 quad .. 4 quad + 4; those past the last are not to be used.
fn noise(draw: Noise, quad: u32) -> vec4<u32> {
    let at = draw.first + min(4u * quad + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(draw.count - 1u));
    return min(vec4<u32>(rows[at.x], rows[at.y], rows[at.z], rows[at.w]), vec4<u32>(draw.last));
}
