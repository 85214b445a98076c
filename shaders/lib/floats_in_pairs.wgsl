// floats_in_pairs: floats.wgsl for software adapters. Mesa's loads number by number and lane by lane, each behind a test of its
// bounds: of 64-bit numbers it has half as many to load. The same bits.
// Features: SHADER_INT64.

alias Floats = vec2<u64>;

fn floats(held: Floats) -> vec4<f32> {
    let low = vec2<u32>(held);
    let high = vec2<u32>(held >> vec2<u32>(32u));
    return bitcast<vec4<f32>>(vec4<u32>(low.x, high.x, low.y, high.y));
}

fn packed(v: vec4<f32>) -> Floats {
    let words = bitcast<vec4<u32>>(v);
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2<u32>(32u));
}
