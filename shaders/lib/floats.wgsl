// floats: four neighbouring floats of a buffer that is only read, as they lie in it (Floats) and as kernels use them.

alias Floats = vec4<f32>;

fn floats(held: Floats) -> vec4<f32> {
    return held;
}
