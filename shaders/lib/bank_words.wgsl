// bank_words: a buffer of words that holds rows of the memory bank as 32-bit floats, or under HALF as 16-bit floats, two in
// a word. For kernels that touch few rows; the file declares `bank: array<u32>` with the access that it needs.

override HALF: bool = false;

fn bank_at(i: u32) -> vec4<f32> {
    if HALF {
        return vec4<f32>(unpack2x16float(bank[2u * i]), unpack2x16float(bank[2u * i + 1u]));
    }
    return bitcast<vec4<f32>>(vec4<u32>(bank[4u * i], bank[4u * i + 1u], bank[4u * i + 2u], bank[4u * i + 3u]));
}
