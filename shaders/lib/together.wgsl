// together: the lanes of a subgroup share a tile. Each reads a part of its rows, and they hand each other what they read.
// Features: SUBGROUP, and subgroups of at least LANES, so that a workgroup of LANES lanes is one subgroup.
// Nothing is summed over the subgroup: what a lane gets is what another has read, so the bits are those of apart.wgsl.

// The row that `member` of the lanes has read.
fn of_member(row: vec4<f32>, member: u32) -> vec4<f32> {
    return subgroupShuffle(row, member);
}

// Four rows by four steps, from what four members have read: the same four rows, a step each.
fn of_members(read: array<vec4<f32>, 1>, four: u32) -> mat4x4<f32> {
    return transpose(mat4x4(subgroupShuffle(read[0], 4u * four), subgroupShuffle(read[0], 4u * four + 1u),
        subgroupShuffle(read[0], 4u * four + 2u), subgroupShuffle(read[0], 4u * four + 3u)));
}
