// apart: every lane has a tile of its own and reads its rows itself. In every variant but those with together.wgsl.

// The row that `member` of the lanes which share a tile has read.
fn of_member(row: vec4<f32>, member: u32) -> vec4<f32> {
    return row;
}

// Four rows by four steps, from what the lane has read: four rows at each step.
fn of_members(read: array<vec4<f32>, 4>, four: u32) -> mat4x4<f32> {
    return transpose(mat4x4(read[0], read[1], read[2], read[3]));
}
