// needs: lib/grid.wgsl lib/floats.wgsl
// peak: what the adapter itself does: the yardstick of the benchmarks, not an op.
//   multiply  CHAINS chains a lane, each v = v factor + step, ROUNDS times; then y[lane] = their sum
//   straight  the same, 128 times without a loop
//   copy      y = x
// Shapes:   x [words / 4]; y [words / 4], for `multiply` [lanes]; all in vec4.
// Dispatch: multiply: LANES lanes a workgroup, words / 4 lanes; copy: EACH neighbouring vec4 a lane. Folded.
// Order:    chains rising.
// Safety:   the grid has a lane for each vec4 of y in `multiply`, and for EACH of them in `copy`; the host cuts words so.
//           ROUNDS is far below the 65,535 rounds after which Mesa's software adapter ends a loop.
// Source:   a chain's next multiply-add waits for its last: enough chains fill the pipelines of the adapter. `factor` and
//           `step` come from `params`, so that no compiler knows the result. There is no return for lanes past the end: on
//           llvmpipe everything behind one is blended with what was there before, and so it is in a loop: 57 of 133 GFLOP/s.

struct Params {
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

alias Chains = array<vec4<f32>, CHAINS>;

struct Spin {
    chain: Chains,
    factor: vec4<f32>,
    step: vec4<f32>,
}

fn once(spin: Spin) -> Spin {
    var next = spin;
    for (var c = 0u; c < CHAINS; c++) {
        next.chain[c] = fma(spin.chain[c], spin.factor, spin.step);
    }
    return next;
}

fn begun(i: u32) -> Spin {
    var spin: Spin;
    spin.factor = vec4(params.factor);
    spin.step = vec4(params.step);
    for (var c = 0u; c < CHAINS; c++) {
        spin.chain[c] = f32(i % 64u) + f32(c) * vec4<f32>(0.125, 0.25, 0.5, 1.0);
    }
    return spin;
}

fn ended(spin: Spin) -> vec4<f32> {
    var sum = vec4<f32>(0.0);
    for (var c = 0u; c < CHAINS; c++) {
        sum += spin.chain[c];
    }
    return sum;
}

fn four(spin: Spin) -> Spin {
    return once(once(once(once(spin))));
}

fn sixteen(spin: Spin) -> Spin {
    return four(four(four(four(spin))));
}

fn many(spin: Spin) -> Spin {
    return sixteen(sixteen(sixteen(sixteen(spin))));
}

@compute @workgroup_size(LANES)
fn multiply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    var spin = begun(i);
    for (var round = 0u; round < ROUNDS; round++) {
        spin = once(spin);
    }
    y[i] = ended(spin);
}

@compute @workgroup_size(LANES)
fn straight(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * LANES + lane;
    y[i] = ended(many(many(begun(i))));
}

@compute @workgroup_size(LANES)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (folded(group, groups) * LANES + lane) * EACH;
    var held: array<vec4<f32>, EACH>;
    for (var k = 0u; k < EACH; k++) {
        held[k] = floats(x[first + k]);
    }
    for (var k = 0u; k < EACH; k++) {
        y[first + k] = held[k];
    }
}
