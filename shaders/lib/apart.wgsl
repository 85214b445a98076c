// apart: every lane has a tile of its own and reads its rows itself. In every variant; see together.wgsl.

fn of_member(value: vec4<f32>, member: u32) -> vec4<f32> {
    return value;
}
