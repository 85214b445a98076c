// needs: lib/grid.wgsl lib/convolution.wgsl
// conv2d_scalar: convolution of images and its gradients, a lane for every four numbers of the result, with guarded scalar
// loads: for groups whose width is no multiple of 4 (any shape, in fact), and as the reference.
//   forward_any      y[b, p, q, o]  = sum over r, s, c of x[b, p st + r - pad, q st + s - pad, c] w[r, s, c, o]
//   grad_input_any   dx[b, i, j, c] = sum over r, s, o of dy[b, (i + pad - r) / st, (j + pad - s) / st, o] w[r, s, c, o],
//                                     over the taps for which both divisions come out even
//   grad_weight_any  part[t, r, s, c, o] = sum over the rows (b, p) of part t, and q, of
//                                     x[b, p st + r - pad, q st + s - pad, c] dy[b, p, q, o]
// outside the image x is 0; output channel o reads the input channels of its group. With ACCUMULATE the gradients are
// added to what the output holds. conv2d.wgsl says how the parts are summed; with split = 1 grad_weight_any writes dw itself.
// Shapes:   as conv2d.wgsl has them: x, dx [n, h, w, ci_stride]; y, dy [n, oh, ow, co_stride]; w, dw [kh, kw, ci padded to 4,
//           co_stride]; part [split] of dw. Channels are padded to a multiple of 4 and the padding is 0. ci: input channels a
//           group, co: all output channels.
// Dispatch: workgroups of LANES lanes, folded; a lane for each of, with ci4 = ci / 4 rounded up,
//           forward_any      n oh ow co_stride / 4
//           grad_input_any   n h w ci_stride / 4
//           grad_weight_any  split kh kw 4 ci4 co_stride / 4
// Order:    r, s, then channels ascending, one chain of fused multiply-adds; grad_weight_any: b, p, q ascending within a part.
//           It depends on the shapes and `split` only, and is that of conv2d.wgsl.
// Safety:   channels are clamped to the last one before a load, and what stands in the padding of a result is 0; taps outside
//           the image are left out. Needs all sizes > 0 and split <= n oh.
//           Mesa's software adapter silently ends a loop after 65,535 rounds of all loops of an invocation together
//           (measured on 22.3.6), so the host keeps below that: forward_any kh kw (ci + 2), grad_input_any the same with
//           co / groups, grad_weight_any (n oh / split + 1) (ow + 1).
// Source:   the definition, term by term.

override ACCUMULATE: bool = false;

// tune
const LANES = 8u;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

// Input channels of a group, in vec4.
fn inputs(size: Params) -> u32 {
    return up(size.ci, 4u);
}

fn put(at: u32, value: vec4<f32>) {
    if ACCUMULATE {
        result[at] += value;
    } else {
        result[at] = value;
    }
}

@compute @workgroup_size(LANES)
fn forward_any(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let ys = size.co_stride / 4u;
    if index >= size.n * size.oh * size.ow * ys {
        return;
    }
    let pixel = index / ys;
    let top = pixel / size.ow % size.oh * size.stride - size.pad;
    let left = pixel % size.ow * size.stride - size.pad;
    let image = pixel / size.ow / size.oh * size.h;
    let lines = 4u * inputs(size);
    let each = size.co / size.groups;
    let o = index % ys * 4u + vec4(0u, 1u, 2u, 3u);
    let begin = min(o, vec4(size.co - 1u)) / each * size.ci;
    var sum = vec4(0.0);
    for (var r = 0u; r < size.kh; r++) {
        for (var s = 0u; s < size.kw; s++) {
            if top + r < size.h && left + s < size.w {
                let at = ((image + top + r) * size.w + left + s) * size.ci_stride + begin;
                let first = (r * size.kw + s) * lines;
                for (var c = 0u; c < size.ci; c++) {
                    let i = at + c;
                    let value = vec4(x[i.x / 4u][i.x % 4u], x[i.y / 4u][i.y % 4u],
                        x[i.z / 4u][i.z % 4u], x[i.w / 4u][i.w % 4u]);
                    sum = fma(value, weight[(first + c) * ys + index % ys], sum);
                }
            }
        }
    }
    result[index] = select(vec4(0.0), sum, o < vec4(size.co));
}

@compute @workgroup_size(LANES)
fn grad_input_any(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let xs = size.ci_stride / 4u;
    if index >= size.n * size.h * size.w * xs {
        return;
    }
    let pixel = index / xs;
    let down = pixel / size.w % size.h + size.pad;
    let right = pixel % size.w + size.pad;
    let image = pixel / size.w / size.h * size.oh;
    let lines = 4u * inputs(size);
    let each = size.co / size.groups;
    let c = index % xs * 4u + vec4(0u, 1u, 2u, 3u);
    let real = min(c, vec4(size.groups * size.ci - 1u));
    let begin = real / size.ci * each;
    let line = real % size.ci;
    var sum = vec4(0.0);
    for (var r = down % size.stride; r < size.kh; r += size.stride) {
        for (var s = right % size.stride; s < size.kw; s += size.stride) {
            let oy = (down - r) / size.stride;
            let ox = (right - s) / size.stride;
            if down >= r && right >= s && oy < size.oh && ox < size.ow {
                let at = ((image + oy) * size.ow + ox) * size.co_stride + begin;
                let first = ((r * size.kw + s) * lines + line) * size.co_stride + begin;
                for (var o = 0u; o < each; o++) {
                    let i = at + o;
                    let k = first + o;
                    sum = fma(vec4(dy[i.x / 4u][i.x % 4u], dy[i.y / 4u][i.y % 4u], dy[i.z / 4u][i.z % 4u], dy[i.w / 4u][i.w % 4u]),
                        vec4(weight[k.x / 4u][k.x % 4u], weight[k.y / 4u][k.y % 4u], weight[k.z / 4u][k.z % 4u], weight[k.w / 4u][k.w % 4u]), sum);
                }
            }
        }
    }
    put(index, select(vec4(0.0), sum, c < vec4(size.groups * size.ci)));
}

@compute @workgroup_size(LANES)
fn grad_weight_any(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let index = folded(group, groups) * LANES + lane;
    let ys = size.co_stride / 4u;
    let down = 4u * inputs(size);
    let taps = size.kh * size.kw;
    let total = taps * down * ys;
    if index >= size.split * total {
        return;
    }
    let c = index / ys % down;
    let tap = index / (ys * down) % taps;
    let r = tap / size.kw;
    let s = tap % size.kw;
    let chunk = index / total;
    let lines = size.n * size.oh;
    let start = chunk * (lines / size.split) + min(chunk, lines % size.split);
    let end = start + lines / size.split + u32(chunk < lines % size.split);
    let begin = up(max(size.pad, s) - s, size.stride);
    let end_q = min(size.ow, up(max(size.w + size.pad, s) - s, size.stride));
    let o = index % ys * 4u + vec4(0u, 1u, 2u, 3u);
    let channel = min(o, vec4(size.co - 1u)) / (size.co / size.groups) * size.ci + min(c, size.ci - 1u);
    var sum = vec4(0.0);
    for (var line = start; line < end; line++) {
        let iy = line % size.oh * size.stride + r - size.pad;
        if iy < size.h {
            let image = (line / size.oh * size.h + iy) * size.w;
            for (var q = begin; q < end_q; q++) {
                let i = (image + q * size.stride + s - size.pad) * size.ci_stride + channel;
                sum = fma(vec4(x[i.x / 4u][i.x % 4u], x[i.y / 4u][i.y % 4u], x[i.z / 4u][i.z % 4u], x[i.w / 4u][i.w % 4u]),
                    dy[(line * size.ow + q) * ys + index % ys], sum);
            }
        }
    }
    sum = select(vec4(0.0), sum, (o < vec4(size.co)) & vec4(c < size.ci));
    if ACCUMULATE && size.split == 1u {
        result[index] += sum;
    } else {
        result[index] = sum;
    }
}
