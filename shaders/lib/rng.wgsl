// rng: random numbers as a function of (key, step, index); the twin of src/rng.rs.
// Source: pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020.

fn random(key: vec2<u32>, step: u32, index: u32) -> vec4<u32> {
    var v = vec4<u32>(key, step, index) * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4<u32>(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

// [0, 1), from the upper 24 bits.
fn unit(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// [0, n): the upper half of word * n, in 16-bit parts since WGSL has no wide product.
fn below(word: u32, n: u32) -> u32 {
    let low = (word & 0xffffu) * (n & 0xffffu);
    let left = (word >> 16u) * (n & 0xffffu);
    let right = (word & 0xffffu) * (n >> 16u);
    let middle = (low >> 16u) + (left & 0xffffu) + (right & 0xffffu);
    return (word >> 16u) * (n >> 16u) + (left >> 16u) + (right >> 16u) + (middle >> 16u);
}
