// bank_f32: rows of the memory bank as 32-bit floats, four numbers at a time.

@group(0) @binding(16) var<storage, read> bank: array<vec4<f32>>;

fn bank_at(i: u32) -> vec4<f32> {
    return bank[i];
}
