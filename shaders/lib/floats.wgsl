// floats: four neighbouring floats as they lie in a buffer (Floats) and as kernels use them.

alias Floats = vec4<f32>;

fn floats(held: Floats) -> vec4<f32> {
    return held;
}

fn packed(v: vec4<f32>) -> Floats {
    return v;
}
