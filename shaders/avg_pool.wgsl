// needs: lib/grid.wgsl lib/floats.wgsl
// avg_pool: the mean over a window; the window of the whole image is global average pooling.
//   forward   y[n,p,q,c] = sum over the window of x[n, p s + i, q s + j, c] / (kh kw)
//   backward  dx[n,h,w,c] = sum over the windows that hold (h,w) of dy[n,p,q,c] / (kh kw)   (added under ACCUMULATE)
// Shapes:   x, dx [n, h, w, c4] and y, dy [n, oh, ow, c4] in vec4 of channels; no padding of the image.
// Dispatch: one workgroup for 64 vec4 of the result, folded.
// Order:    window rows, then columns, rising.
// Safety:   windows lie inside the image: (oh - 1) s + kh <= h and (ow - 1) s + kw <= w.
// Source:   the pooling layers of He et al. 2016.

struct Params {
    n: u32,
    h: u32,
    w: u32,
    c4: u32,
    oh: u32,
    ow: u32,
    kh: u32,
    kw: u32,
    stride: u32,
}

override ACCUMULATE: bool = false;

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dy: array<Floats>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>;

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
    var sum = vec4<f32>(0.0);
    for (var a = 0u; a < params.kh; a++) {
        for (var b = 0u; b < params.kw; b++) {
            sum += floats(x[((n * params.h + p * params.stride + a) * params.w + q * params.stride + b) * params.c4 + c]);
        }
    }
    y[i] = sum / f32(params.kh * params.kw);
}

// The first window along one side that holds `at`; the last is at / stride, but for the end of the row of windows.
fn first_window(at: u32, k: u32, stride: u32) -> u32 {
    return select(0u, (at + stride - k) / stride, at >= k);
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
    let last_p = min(h / params.stride, params.oh - 1u);
    let last_q = min(w / params.stride, params.ow - 1u);
    var sum = vec4<f32>(0.0);
    for (var p = first_window(h, params.kh, params.stride); p <= last_p; p++) {
        for (var q = first_window(w, params.kw, params.stride); q <= last_q; q++) {
            sum += floats(dy[((n * params.oh + p) * params.ow + q) * params.c4 + c]);
        }
    }
    sum /= f32(params.kh * params.kw);
    if ACCUMULATE {
        sum += dx[i];
    }
    dx[i] = sum;
}
