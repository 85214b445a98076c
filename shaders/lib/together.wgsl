// together: the lanes of a subgroup share a tile. Each reads a part of the operands, and they hand each other what they read:
// the rows of A where all hold the same rows (ACROSS > 1), the columns of B where all hold the same columns (DOWN > 1).
// Features: SUBGROUP, and subgroups of at least LANES, so that a workgroup of LANES lanes is one subgroup.
// Nothing is summed over the subgroup: what a lane gets is what another has read, so the bits are those of apart.wgsl.

// The row of A that `member` of the lanes which hold the same rows has read.
fn of_row(row: vec4<f32>, member: u32) -> vec4<f32> {
    if ACROSS == 1u {
        return row;
    }
    return subgroupShuffle(row, member);
}

// Four rows of A by four steps, from what was read: four rows at each step, or at one step by each of four lanes.
fn of_rows(read: array<vec4<f32>, STEPS>, four: u32) -> mat4x4<f32> {
    if ACROSS == 1u {
        return transpose(mat4x4(read[0], read[min(1u, STEPS - 1u)], read[min(2u, STEPS - 1u)], read[STEPS - 1u]));
    }
    return transpose(mat4x4(subgroupShuffle(read[0], 4u * four), subgroupShuffle(read[0], 4u * four + 1u),
        subgroupShuffle(read[0], 4u * four + 2u), subgroupShuffle(read[0], 4u * four + 3u)));
}

// Element e of the 4 COLS of B.
fn of_columns(read: array<vec4<f32>, COLUMN_READS>, e: u32) -> vec4<f32> {
    if DOWN == 1u {
        return read[e];
    }
    return subgroupShuffle(read[e / DOWN], e % DOWN);
}
