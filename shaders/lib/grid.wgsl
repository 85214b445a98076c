// grid: the number of a workgroup in a grid that the host folded over x, y and z to stay under the limit of a dimension.

fn folded(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.x + groups.x * (group.y + groups.y * group.z);
}
