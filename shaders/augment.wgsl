// needs: lib/grid.wgsl lib/rng.wgsl lib/step.wgsl
// augment: random crop, flip, colour jitter and grey of 8-bit images, normalised for the network.
//   augment   draw, sample, jitter, grey, normalise, as src/twin/augment.rs says step by step; with `plain` the largest square
//             in the middle and no change of colour
// Shapes:   pixels: bytes R, G, B row by row, four to a word; table [b]: first word, width, height, any; y [b, side, side, 4],
//           the fourth channel 0; drawn [b, 3] in vec4: crop (x0, y0, cw, ch); brightness, contrast, saturation, hue; flip,
//           grey, order, 0.
// Dispatch: one workgroup an image, folded.
// Order:    the mean grey: a lane adds its pixels in rising order, LANES apart; then a fixed tree over the lanes.
// Safety:   words are clamped to the last of `pixels`; a lane writes only pixels below side * side of its own image.
// Source:   the augmentation of Wu et al. 2018, section 4.

struct Params {
    batch: u32,
    side: u32,
    words: u32,
    plain: u32,
    area_low: f32,
    area_high: f32,
    aspect: f32,
    brightness: f32,
    contrast: f32,
    saturation: f32,
    hue: f32,
    grey: f32,
    flip: f32,
    mean_r: f32,
    mean_g: f32,
    mean_b: f32,
    deviation_r: f32,
    deviation_g: f32,
    deviation_b: f32,
}

@group(0) @binding(0) var<storage, read> params: Params;
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> pixels: array<u32>;
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> drawn: array<vec4<f32>>;

const STREAM = 4u; // Stream::Augment
const LANES = 256u;
var<workgroup> sums: array<f32, LANES>;

struct Draw {
    crop: vec4<f32>,
    factor: vec4<f32>, // brightness, contrast, saturation; hue in turns
    order: u32,
    flip: bool,
    grey: bool,
}

fn draw(b: u32, size: vec2<f32>) -> Draw {
    if params.plain != 0u {
        let side = min(size.x, size.y);
        return Draw(vec4<f32>(floor((size - side) * 0.5), side, side), vec4<f32>(1.0, 1.0, 1.0, 0.0), 0u, false, false);
    }
    let key = stream_key(step, STREAM);
    let place = random(key, step.number, 8u * b);
    let kind = random(key, step.number, 8u * b + 1u);
    let colour = random(key, step.number, 8u * b + 2u);
    let area = (params.area_low + (params.area_high - params.area_low) * unit(place.x)) * size.x * size.y;
    let aspect = exp((2.0 * unit(place.y) - 1.0) * log(params.aspect));
    let crop = min(sqrt(vec2<f32>(area * aspect, area / aspect)), size);
    let corner = vec2<f32>(unit(place.z), unit(place.w)) * (size - crop);
    let both = 2.0 * vec4<f32>(unit(colour.x), unit(colour.y), unit(colour.z), unit(kind.w)) - 1.0;
    let factor = vec4<f32>(1.0, 1.0, 1.0, 0.0) + both * vec4<f32>(params.brightness, params.contrast, params.saturation, params.hue);
    return Draw(vec4<f32>(corner, crop), factor, below(kind.z, 24u), unit(kind.x) < params.flip, unit(kind.y) < params.grey);
}

// The steps 0 brightness, 1 contrast, 2 saturation, 3 hue in the order of permutation `place`, two bits each.
fn steps(place: u32) -> u32 {
    var left = 0xe4u; // 3 2 1 0, the first in the lowest bits
    var rest = place;
    var order = 0u;
    for (var k = 0u; k < 4u; k++) {
        let below_k = array<u32, 4>(6u, 2u, 1u, 1u)[k];
        let taken = 2u * (rest / below_k);
        rest %= below_k;
        order |= ((left >> taken) & 3u) << (2u * k);
        let low = (1u << taken) - 1u;
        left = (left & low) | ((left >> 2u) & ~low);
    }
    return order;
}

fn taps(c: f32) -> u32 {
    let side = f32(params.side);
    return 1u + u32(c > 1.5 * side) + u32(c > 2.0 * side) + u32(c > 3.0 * side);
}

fn value(first: u32, byte: u32) -> f32 {
    let word = min(first + byte / 4u, params.words - 1u);
    return f32((pixels[word] >> (8u * (byte % 4u))) & 0xffu);
}

fn pixel(first: u32, width: u32, at: vec2<u32>) -> vec3<f32> {
    let byte = (at.y * width + at.x) * 3u;
    return vec3<f32>(value(first, byte), value(first, byte + 1u), value(first, byte + 2u)) * (1.0 / 255.0);
}

fn sample(entry: vec4<u32>, crop: vec4<f32>, at: vec2<u32>) -> vec3<f32> {
    let last = vec2<f32>(entry.yz) - 1.0;
    let count = vec2<u32>(taps(crop.z), taps(crop.w));
    var sum = vec3<f32>(0.0);
    for (var tx = 0u; tx < count.x; tx++) {
        for (var ty = 0u; ty < count.y; ty++) {
            let inner = (vec2<f32>(f32(tx), f32(ty)) + 0.5) / vec2<f32>(count);
            let place = clamp(crop.xy + (vec2<f32>(at) + inner) * crop.zw / f32(params.side) - 0.5, vec2<f32>(0.0), last);
            let low = vec2<u32>(place);
            let high = min(low + 1u, entry.yz - 1u);
            let share = place - floor(place);
            let top = mix(pixel(entry.x, entry.y, low), pixel(entry.x, entry.y, vec2<u32>(high.x, low.y)), share.x);
            let bottom = mix(pixel(entry.x, entry.y, vec2<u32>(low.x, high.y)), pixel(entry.x, entry.y, high), share.x);
            sum += mix(top, bottom, share.y);
        }
    }
    return sum / f32(count.x * count.y);
}

fn grey_of(p: vec3<f32>) -> f32 {
    return dot(p, vec3<f32>(0.299, 0.587, 0.114));
}

fn turn_hue(p: vec3<f32>, turns: f32) -> vec3<f32> {
    let most = max(p.x, max(p.y, p.z));
    let d = most - min(p.x, min(p.y, p.z));
    if d == 0.0 {
        return p;
    }
    var sixths = 4.0 + (p.x - p.y) / d;
    if p.x == most {
        sixths = (p.y - p.z) / d;
    } else if p.y == most {
        sixths = 2.0 + (p.z - p.x) / d;
    }
    let turned = vec3<f32>(5.0, 3.0, 1.0) + sixths + 6.0 * turns;
    let k = turned - 6.0 * floor(turned / 6.0);
    return most - d * clamp(min(k, 4.0 - k), vec3<f32>(0.0), vec3<f32>(1.0));
}

fn jitter(p: vec3<f32>, kind: u32, factor: vec4<f32>, mean: f32) -> vec3<f32> {
    var next = turn_hue(p, factor.w);
    if kind == 0u {
        next = p * factor.x;
    } else if kind == 1u {
        next = mean + factor.y * (p - mean);
    } else if kind == 2u {
        next = grey_of(p) + factor.z * (p - grey_of(p));
    }
    return clamp(next, vec3<f32>(0.0), vec3<f32>(1.0));
}

@compute @workgroup_size(LANES)
fn augment(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let b = folded(group, groups);
    if b >= params.batch { // the same for the whole workgroup, so the barriers below stay uniform
        return;
    }
    let entry = table[b];
    let own = draw(b, vec2<f32>(entry.yz));
    let order = steps(own.order);
    let count = params.side * params.side;
    // The steps before the contrast, which needs the mean of what they leave.
    var greys = 0.0;
    for (var i = lane; i < count; i += LANES) {
        let column = i % params.side;
        var p = sample(entry, own.crop, vec2<u32>(select(column, params.side - 1u - column, own.flip), i / params.side));
        for (var k = 0u; k < 4u; k++) {
            let kind = (order >> (2u * k)) & 3u;
            if kind == 1u {
                break;
            }
            p = jitter(p, kind, own.factor, 0.0);
        }
        greys += grey_of(p);
        y[b * count + i] = vec4<f32>(p, 0.0);
    }
    sums[lane] = greys;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
        }
        workgroupBarrier();
    }
    let mean = sums[0] / f32(count);
    let centre = vec3<f32>(params.mean_r, params.mean_g, params.mean_b);
    let deviation = vec3<f32>(params.deviation_r, params.deviation_g, params.deviation_b);
    for (var i = lane; i < count; i += LANES) {
        var p = y[b * count + i].xyz;
        var from_contrast = false;
        for (var k = 0u; k < 4u; k++) {
            let kind = (order >> (2u * k)) & 3u;
            from_contrast |= kind == 1u;
            if from_contrast {
                p = jitter(p, kind, own.factor, mean);
            }
        }
        if own.grey {
            p = vec3<f32>(grey_of(p));
        }
        y[b * count + i] = vec4<f32>((p - centre) / deviation, 0.0);
    }
    if lane == 0u {
        drawn[b * 3u] = own.crop;
        drawn[b * 3u + 1u] = own.factor;
        drawn[b * 3u + 2u] = vec4<f32>(f32(own.flip), f32(own.grey), f32(own.order), 0.0);
    }
}
