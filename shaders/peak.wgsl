// needs: lib/grid.wgsl lib/floats.wgsl
// peak: what the adapter itself does: the yardstick of the benchmarks, not an op.
//   multiply  CHAINS chains a lane, each v = v factor + step, ROUNDS times; then y[lane] = their sum
//   copy      y = x
// Shapes:   x [words / 4]; y [words / 4], for `multiply` [lanes]; all in vec4.
// Dispatch: multiply: LANES lanes a workgroup, words / 4 lanes; copy: EACH neighbouring vec4 a lane. Folded.
// Order:    chains rising.
// Safety:   i < words / 4 and first + EACH <= words / 4, the length of x and y. ROUNDS is far below
//           the 65,535 rounds after which Mesa's software adapter ends a loop.
// Source:   a chain's next multiply-add waits for its last: enough chains fill the pipelines of the adapter. `factor` and
//           `step` come from `params`, so that no compiler knows the result.

struct Params {
    words: u32,
    factor: f32,
    step: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Floats>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// tune
const LANES = 64u;
const CHAINS = 10u;
const ROUNDS = 1024u;
const EACH = 1u;

@compute @workgroup_size(LANES)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    let size = params;
    if i >= size.words / 4u {
        return;
    }
    let factor = vec4<f32>(size.factor);
    let step = vec4<f32>(size.step);
    var chain: array<vec4<f32>, CHAINS>;
    for (var c = 0u; c < CHAINS; c++) {
        chain[c] = f32(i % 64u) + f32(c) * vec4<f32>(0.125, 0.25, 0.5, 1.0);
    }
    for (var round = 0u; round < ROUNDS; round++) {
        for (var c = 0u; c < CHAINS; c++) {
            chain[c] = fma(chain[c], factor, step);
        }
    }
    var sum = vec4<f32>(0.0);
    for (var c = 0u; c < CHAINS; c++) {
        sum += chain[c];
    }
    y[i] = sum;
}

@compute @workgroup_size(LANES)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (folded(group, groups) * LANES + lane) * EACH;
    if first + EACH > params.words / 4u {
        return;
    }
    var held: array<vec4<f32>, EACH>;
    for (var k = 0u; k < EACH; k++) {
        held[k] = floats(x[first + k]);
    }
    for (var k = 0u; k < EACH; k++) {
        y[first + k] = held[k];
    }
}
