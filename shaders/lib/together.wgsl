// together: the lanes of a subgroup share a tile. Each reads some of its rows, and hands them to the others.
// Features: SUBGROUP, and subgroups of at least LANES, so that a workgroup of LANES lanes is one subgroup.
// Nothing is summed over the subgroup: what a lane gets is what another has read, so the bits are those of apart.wgsl.

fn of_member(value: vec4<f32>, member: u32) -> vec4<f32> {
    return subgroupShuffle(value, member);
}
