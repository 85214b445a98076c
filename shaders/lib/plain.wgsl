// plain: what a kernel does with each vec4 of its result besides storing it: nothing. In every variant but those with
// moments.wgsl, slopes.wgsl or affine.wgsl, which offer the same functions:
//   FINISHES             whether any of them does something
//   CHANGES              whether what is to be stored is another than the result
//   begin(c)             before the first of a lane's results of the vec4 c of channels
//   finish(g, v, at)     gives what is to be stored at `at` for the result v
//   end(g, p, c, c4)     after the last: part p of the sums of c, of c4 vec4 of channels

const FINISHES = false;
const CHANGES = false;

struct Gathered {
    nothing: u32,
}

fn begin(c: u32) -> Gathered {
    return Gathered(c);
}

fn finish(g: ptr<function, Gathered>, v: vec4<f32>, at: u32) -> vec4<f32> {
    return v;
}

fn end(g: ptr<function, Gathered>, p: u32, c: u32, c4: u32) {
}
