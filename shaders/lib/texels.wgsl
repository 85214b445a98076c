// texels: a tensor of vec4 as a texture of LINE texels in a line, which holds the same bits; src/gpu/texels.rs says where and why.

const LINE = 1024u;

fn texel(tensor: texture_storage_2d<rgba32float, read>, i: u32) -> vec4<f32> {
    return textureLoad(tensor, vec2(i % LINE, i / LINE));
}
