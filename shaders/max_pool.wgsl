// needs: lib/grid.wgsl lib/floats.wgsl
// max_pool: the largest value in a window, the first in row order among equals; a NaN counts as largest.
//   forward   y[n,p,q,c] = max over the window of x[n, p s + i - pad, q s + j - pad, c];  chosen = i kw + j of it
//   backward  dx[n,h,w,c] = sum over the windows that chose (h,w) of dy[n,p,q,c]   (added under ACCUMULATE)
// Shapes:   x, dx [n, h, w, c4] and y, dy, chosen [n, oh, ow, c4] in vec4 of channels.
// Dispatch: one workgroup for 64 vec4 of the result, folded.
// Order:    backward adds windows in rising row, then column.
// Safety:   only places inside the image are read: row and column are compared with h and w first.
// Source:   the stem of He et al. 2016.

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c4: u32,
    oh: u32,
    ow: u32,
    k: u32,
    stride: u32,
    pad: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> chosen_out: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> chosen: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> dy: array<Floats>;
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>;

fn is_nan(v: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
}

@compute @workgroup_size(64)
fn forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.n * params.oh * params.ow * params.c4 {
        return;
    }
    let c = i % params.c4;
    let q = i / params.c4 % params.ow;
    let p = i / (params.c4 * params.ow) % params.oh;
    let n = i / (params.c4 * params.ow * params.oh);
    var best = vec4<f32>(0.0);
    var place = vec4<u32>(0xffffffffu);
    for (var a = 0u; a < params.k; a++) {
        for (var b = 0u; b < params.k; b++) {
            let row = p * params.stride + a - params.pad; // wraps to a large number above the image
            let col = q * params.stride + b - params.pad;
            if row < params.h && col < params.w {
                let v = floats(x[((n * params.h + row) * params.w + col) * params.c4 + c]);
                let better = (place == vec4<u32>(0xffffffffu)) | (v > best) | is_nan(v);
                best = select(best, v, better);
                place = select(place, vec4<u32>(a * params.k + b), better);
            }
        }
    }
    y[i] = best;
    chosen_out[i] = place;
}

@compute @workgroup_size(64)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 64u + lane;
    if i >= params.n * params.h * params.w * params.c4 {
        return;
    }
    let c = i % params.c4;
    let w = i / params.c4 % params.w;
    let h = i / (params.c4 * params.w) % params.h;
    let n = i / (params.c4 * params.w * params.h);
    var sum = vec4<f32>(0.0);
    for (var a = params.k; a > 0u; a--) { // from the last row of the window down: windows in rising order
        let top = h + params.pad - (a - 1u);
        if h + params.pad < a - 1u || top % params.stride != 0u || top / params.stride >= params.oh {
            continue;
        }
        for (var b = params.k; b > 0u; b--) {
            let left = w + params.pad - (b - 1u);
            if w + params.pad < b - 1u || left % params.stride != 0u || left / params.stride >= params.ow {
                continue;
            }
            let o = ((n * params.oh + top / params.stride) * params.ow + left / params.stride) * params.c4 + c;
            let here = chosen[o] == vec4<u32>((a - 1u) * params.k + b - 1u);
            sum += select(vec4<f32>(0.0), floats(dy[o]), here);
        }
    }
    if ACCUMULATE {
        sum += dx[i];
    }
    dx[i] = sum;
}
