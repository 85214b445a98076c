// bank_f16: rows of the memory bank as 16-bit floats, two in a word, read as bank_f32 reads its own: exactly, but that a
// device may take numbers below 2^-14 for zero.

@group(0) @binding(16) var<storage, read> bank: array<vec2<u32>>;

fn bank_at(i: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(bank[i].x), unpack2x16float(bank[i].y));
}
