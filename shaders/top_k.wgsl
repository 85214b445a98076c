// needs: lib/grid.wgsl lib/floats.wgsl lib/apart.wgsl lib/gemm_lanes.wgsl lib/bank_f32.wgsl
// top_k: the k rows of the bank with the largest dot products with each query; scores are never stored.
//   scan      over rows of a chunk: a tile of ROWS queries by 4 COLS rows is multiplied as gemm.wgsl's `nt` does it, and what
//             beats the worst of a query's list takes its place
//   choose    the lists of all chunks into one, sorted: the largest score first, equal ones by rising row
// Shapes:   f [queries, dim4] in vec4; bank [rows, dim4]: the rows from `shard` on; lists [chunks, k, queries] of (key, row),
//           each a heap with its worst at the root, where a key is a score whose bits order as whole numbers do; scores
//           [queries, k padded to 4]; rows [queries, k].
// Dispatch: scan: a lane ROWS queries and rows begin .. end of one chunk of a shard, LANES lanes a workgroup, alone or all one
//           below the other (DOWN = LANES), queries fastest; begins new lists where `fresh`, else goes on; choose: a lane a query, 64 a workgroup. Folded.
// Order:    of a dot product that of gemm's `nt`. Which k rows are best is no matter of order: of equal scores the lower row
//           is the better one, so that no two rows are equal, and chunks and shards change nothing.
// Safety:   queries are clamped to the last one before a load, rows to the last of the chunk, which ends at the shard's end;
//           places in a list are below k. A dispatch is bounded by the host so that no lane loops more than drivers let it.
// Source:   implicit heaps of Williams 1964; a block-wise product with a filter as in Johnson, Douze and Jégou 2017.

struct Params {
    queries: u32,
    k: u32,
    dim4: u32,
    shard: u32,
    shard_rows: u32,
    chunks: u32,
    chunk_rows: u32,
    begin: u32,
    end: u32,
    fresh: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> f: array<Floats>;
@group(0) @binding(2) var<storage, read_write> lists: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<u32>;

const NEW_ROWS = 4u * COLS;

// Whole numbers in the order of the floats.
fn sortable(score: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(score);
    return select(bits | vec4<u32>(0x80000000u), ~bits, bits >= vec4<u32>(0x80000000u));
}

fn score_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}

fn worse(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.x < b.x || (a.x == b.x && a.y > b.y);
}

fn place(list: u32, i: u32) -> u32 {
    return list + i * params.queries;
}

// Put `item` in place of the worst of the first `size` of a list; the new worst stands at its root.
fn replace_worst(list: u32, size: u32, item: vec2<u32>) {
    var hole = 0u;
    var child = 1u;
    while child < size {
        var below = lists[place(list, child)];
        let other = lists[place(list, min(child + 1u, size - 1u))];
        if worse(other, below) {
            below = other;
            child += 1u;
        }
        if !worse(below, item) {
            break;
        }
        lists[place(list, hole)] = below;
        hole = child;
        child = 2u * hole + 1u;
    }
    lists[place(list, hole)] = item;
}

@compute @workgroup_size(LANES)
fn scan(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let teams = (size.queries + ROWS * LANES - 1u) / (ROWS * LANES);
    let chunk = folded(group, groups) / teams;
    let member = lane % TOGETHER;
    let first = (folded(group, groups) % teams * LANES + lane) / TOGETHER * HIGH;
    if chunk >= size.chunks || first >= size.queries {
        return;
    }
    let start = chunk * size.chunk_rows + size.begin;
    let end = min(chunk * size.chunk_rows + min(size.end, size.chunk_rows), size.shard_rows);
    var at: array<u32, ROW_READS>;
    for (var i = 0u; i < ROW_READS; i++) {
        at[i] = min(first + row_read(i, member), size.queries - 1u) * size.dim4;
    }
    var query: array<u32, ROWS>;
    var worst: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        query[r] = first + row_held(r, member);
        // Of queries past the last one nothing is better than this.
        worst[r] = select(0xffffffffu, 0u, query[r] < size.queries);
    }
    let list = chunk * size.k * size.queries;
    for (var i = 0u; size.fresh != 0u && i < size.k; i++) {
        for (var r = 0u; r < ROWS; r++) {
            if query[r] < size.queries {
                lists[place(list + query[r], i)] = vec2<u32>(0u, 0xffffffffu);
            }
        }
    }
    for (var r = 0u; size.fresh == 0u && r < ROWS; r++) {
        if query[r] < size.queries {
            worst[r] = lists[list + query[r]].x;
        }
    }
    for (var row = start; row < end; row += NEW_ROWS) {
        var columns: array<u32, COLUMN_READS>;
        for (var i = 0u; i < COLUMN_READS; i++) {
            columns[i] = min(row + element_read(i, member), end - 1u) * size.dim4;
        }
        var tile: Tile;
        for (var n = 0u; n < size.dim4; n++) {
            var read: array<vec4<f32>, COLUMN_READS>;
            for (var i = 0u; i < COLUMN_READS; i++) {
                read[i] = bank_at(columns[i] + n);
            }
            var b = steps_of_columns(read);
            for (var i = 0u; i < ROW_READS; i++) {
                accumulate_rows(&tile, i, floats(f[at[i] + n]), &b);
            }
        }
        // Bit c of better[r]: row + c beats the worst of query r.
        var keys: array<vec4<u32>, ROWS * COLS>;
        var better: array<u32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            var bits = 0u;
            for (var v = 0u; v < COLS; v++) {
                let key = sortable(tile[r * COLS + v]);
                keys[r * COLS + v] = key;
                let beats = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), key > vec4<u32>(worst[r]));
                bits |= (beats.x | beats.y | beats.z | beats.w) << (4u * v);
            }
            better[r] = bits & (0xffffffffu >> (32u - min(end - row, NEW_ROWS)));
        }
        for (var r = 0u; r < ROWS; r++) {
            var left = better[r];
            while left != 0u {
                let c = countTrailingZeros(left);
                left &= left - 1u;
                let key = keys[r * COLS + c / 4u][c % 4u];
                // Rows rise, so that of equal scores the one in the list is the better.
                if key > worst[r] {
                    replace_worst(list + query[r], size.k, vec2<u32>(key, size.shard + row + c));
                    worst[r] = lists[list + query[r]].x;
                }
            }
        }
    }
}

@compute @workgroup_size(64)
fn choose(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params;
    let q = folded(group, groups) * 64u + lane;
    if q >= size.queries {
        return;
    }
    for (var i = size.k; i < size.chunks * size.k; i++) {
        let item = lists[place(q, i)];
        if worse(lists[q], item) {
            replace_worst(q, size.k, item);
        }
    }
    // The worst of what is left goes to its end.
    for (var left = size.k - 1u; left > 0u; left--) {
        let last = lists[place(q, left)];
        lists[place(q, left)] = lists[q];
        replace_worst(q, left, last);
    }
    let width = (size.k + 3u) / 4u * 4u;
    for (var i = 0u; i < width; i++) {
        let item = lists[place(q, min(i, size.k - 1u))];
        scores[q * width + i] = select(0.0, score_of(item.x), i < size.k);
        if i < size.k {
            rows[q * size.k + i] = item.y;
        }
    }
}
