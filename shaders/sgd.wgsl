// needs: lib/grid.wgsl lib/floats.wgsl lib/step.wgsl
// sgd: stochastic gradient descent with momentum and weight decay, over all parameters in one dispatch.
//   update    v = momentum v + g + decay w;   w = w - lr v;   nothing while flag is up
// Shapes:   w, v, g [words] in vec4.
// Dispatch: a lane a vec4, 256 a workgroup, folded.
// Order:    none.
// Safety:   i < words / 4, the length of all three in vec4.
// Source:   Sutskever et al. 2013 in PyTorch's form: decay on every parameter, no dampening, no Nesterov step.

struct Params {
    words: u32,
    momentum: f32,
    decay: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> flag: array<u32>;
@group(0) @binding(3) var<storage, read> g: array<Floats>;
@group(0) @binding(4) var<storage, read_write> v: array<Floats>;
@group(0) @binding(5) var<storage, read_write> w: array<Floats>;

@compute @workgroup_size(256)
fn update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = folded(group, groups) * 256u + lane;
    // Read before the return, these are loaded once and not lane by lane.
    let settings = params;
    let rate = step.lr;
    let up = flag[0];
    if i >= settings.words / 4u || up != 0u {
        return;
    }
    let old = floats(w[i]);
    let velocity = settings.momentum * floats(v[i]) + (floats(g[i]) + settings.decay * old);
    v[i] = packed(velocity);
    w[i] = packed(old - rate * velocity);
}
