// pixel: an index of pixels taken apart, and moved by another, digit by digit: divisions of whole numbers are slow, and processors
// divide lane by lane (benches/README.md has what it gained).

// Column q of line p of image b.
struct Pixel {
    q: u32,
    p: u32,
    b: u32,
}

fn pixel_of(index: u32, wide: u32, high: u32) -> Pixel {
    let line = index / wide;
    let image = line / high;
    return Pixel(index - line * wide, line - image * high, image);
}

// The pixel whose index is the sum of both.
fn moved(start: Pixel, by: Pixel, wide: u32, high: u32) -> Pixel {
    var to = Pixel(start.q + by.q, start.p + by.p, start.b + by.b);
    let next_line = to.q >= wide;
    to.q -= select(0u, wide, next_line);
    to.p += u32(next_line);
    let next_image = to.p >= high;
    to.p -= select(0u, high, next_image);
    to.b += u32(next_image);
    return to;
}
