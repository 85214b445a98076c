// slopes: the results are the gradient of y = relu(t), t = (x - mean) scale + beta, that a batch norm made. They are stored
// as m = 0 where t <= 0, and the sums of m and m (x - mean) inv that the norm's gradient needs are a lane's part of them.
//   norm_x as the result; stats [c4, 5] as in batch_norm.wgsl; slopes_out [parts, 2, c4].

@group(0) @binding(32) var<storage, read> norm_x: array<Floats>;
@group(0) @binding(33) var<storage, read> stats: array<Floats>;
@group(0) @binding(34) var<storage, read_write> slopes_out: array<vec4<f32>>;

const FINISHES = true;
const CHANGES = true;

struct Gathered {
    mean: vec4<f32>,
    scale: vec4<f32>,
    beta: vec4<f32>,
    sum: vec4<f32>,
    along: vec4<f32>,
}

fn begin(c: u32) -> Gathered {
    return Gathered(floats(stats[5u * c]), floats(stats[5u * c + 2u]), floats(stats[5u * c + 3u]), vec4<f32>(0.0), vec4<f32>(0.0));
}

fn finish(g: ptr<function, Gathered>, v: vec4<f32>, at: u32) -> vec4<f32> {
    let from_mean = floats(norm_x[at]) - (*g).mean;
    let m = select(v, vec4<f32>(0.0), fma(from_mean, (*g).scale, (*g).beta) <= vec4<f32>(0.0));
    (*g).sum += m;
    (*g).along = fma(m, from_mean, (*g).along);
    return m;
}

fn end(g: ptr<function, Gathered>, p: u32, c: u32, c4: u32) {
    slopes_out[2u * p * c4 + c] = (*g).sum;
    slopes_out[(2u * p + 1u) * c4 + c] = (*g).along * floats(stats[5u * c + 1u]);
}
