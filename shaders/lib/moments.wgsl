// moments: count, mean and sum of squared deviations of a lane's results, channel by channel: a part of the statistics of the
// batch norm that follows (batch_norm.wgsl joins them). Shifted by the first result, so that a large mean costs nothing.
//   moments_out [parts, 3, c4]; a part without results has the count 0.

@group(0) @binding(32) var<storage, read_write> moments_out: array<vec4<f32>>;

const FINISHES = true;
const CHANGES = false;

struct Gathered {
    count: f32,
    pivot: vec4<f32>,
    sum: vec4<f32>,
    squares: vec4<f32>,
}

fn begin(c: u32) -> Gathered {
    return Gathered();
}

fn finish(g: ptr<function, Gathered>, v: vec4<f32>, at: u32) -> vec4<f32> {
    if (*g).count == 0.0 {
        (*g).pivot = v;
    }
    let shifted = v - (*g).pivot;
    (*g).count += 1.0;
    (*g).sum += shifted;
    (*g).squares = fma(shifted, shifted, (*g).squares);
    return v;
}

fn end(g: ptr<function, Gathered>, p: u32, c: u32, c4: u32) {
    let share = (*g).sum / max((*g).count, 1.0);
    moments_out[3u * p * c4 + c] = vec4<f32>((*g).count);
    moments_out[(3u * p + 1u) * c4 + c] = (*g).pivot + share;
    moments_out[(3u * p + 2u) * c4 + c] = fma(-(*g).sum, share, (*g).squares);
}
