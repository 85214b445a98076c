// convolution: the sizes of a convolution, the same for all its kernels. h, w, oh, ow: sides of input and result; ci: input
// channels a group, co: all output channels, with the strides of a pixel that holds them; split: parts that a kernel cuts its
// work into, or lines of a run.

struct Params {
    n: u32,
    h: u32,
    w: u32,
    ci: u32,
    ci_stride: u32,
    oh: u32,
    ow: u32,
    co: u32,
    co_stride: u32,
    kh: u32,
    kw: u32,
    stride: u32,
    pad: u32,
    groups: u32,
    split: u32,
}

@group(0) @binding(0) var<storage, read> params: Params;

// a / b, rounded up.
fn up(a: u32, b: u32) -> u32 {
    return (a + b - 1u) / b;
}
