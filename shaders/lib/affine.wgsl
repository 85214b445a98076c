// affine: the results go through a batch norm whose statistics are known (evaluation), an addend and a ReLU before they are
// stored: relu((v - mean) scale + beta + addend).
//   stats [c4, 5] as in batch_norm.wgsl; addend as the result, read under ADD alone.

override RELU: bool = false;
override ADD: bool = false;

@group(0) @binding(32) var<storage, read> stats: array<Floats>;
@group(0) @binding(33) var<storage, read> addend: array<Floats>;

const FINISHES = true;
const CHANGES = true;

struct Gathered {
    mean: vec4<f32>,
    scale: vec4<f32>,
    beta: vec4<f32>,
}

fn begin(c: u32) -> Gathered {
    return Gathered(floats(stats[5u * c]), floats(stats[5u * c + 2u]), floats(stats[5u * c + 3u]));
}

fn finish(g: ptr<function, Gathered>, v: vec4<f32>, at: u32) -> vec4<f32> {
    var t = fma(v - (*g).mean, (*g).scale, (*g).beta);
    if ADD {
        t += floats(addend[at]);
    }
    // NaN stays NaN: see batch_norm.wgsl.
    let bits = bitcast<vec4<u32>>(t);
    let negative = (bits >= vec4<u32>(0x80000000u)) & (bits <= vec4<u32>(0xff800000u));
    return select(t, vec4<f32>(0.0), vec4<bool>(RELU) & negative);
}

fn end(g: ptr<function, Gathered>, p: u32, c: u32, c4: u32) {
}
