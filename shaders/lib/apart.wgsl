// apart: every lane has a tile of its own and reads its operands itself. In every variant but those with together.wgsl.

// The row of A that `member` of the lanes which hold the same rows has read.
fn of_row(row: vec4<f32>, member: u32) -> vec4<f32> {
    return row;
}

// Four rows of A by four steps, from what was read: four rows at each step.
fn of_rows(read: array<vec4<f32>, STEPS>, four: u32) -> mat4x4<f32> {
    return transpose(mat4x4(read[0], read[1], read[2], read[3]));
}

// Element e of the 4 COLS of B.
fn of_columns(read: array<vec4<f32>, COLUMN_READS>, e: u32) -> vec4<f32> {
    return read[e];
}
