// bank_f32: rows of the memory bank as 32-bit floats, four numbers at a time.

@group(0) @binding(16) var<storage, read> bank: array<Floats>;

fn bank_at(i: u32) -> vec4<f32> {
    return floats(bank[i]);
}
