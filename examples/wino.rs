//! scratch
use instdisc::{
    gpu::Gpu,
    ops::{self, Conv},
    rng::{Sequence, Stream},
    shape::Layout,
    tape::Tape,
};
fn twin(x: &[f64], xs: [usize; 4], w: &[f64], co: usize, pad: usize) -> Vec<f64> {
    let [n, ci, h, wd] = xs;
    let (oh, ow) = (h + 2 * pad - 2, wd + 2 * pad - 2);
    let mut y = vec![0.0; n * co * oh * ow];
    for b in 0..n {
        for o in 0..co {
            for c in 0..ci {
                for r in 0..3 {
                    for s in 0..3 {
                        let g = w[((o * ci + c) * 3 + r) * 3 + s];
                        for i in 0..oh {
                            let iy = i + r;
                            if iy < pad || iy - pad >= h {
                                continue;
                            }
                            for j in 0..ow {
                                let ix = j + s;
                                if ix < pad || ix - pad >= wd {
                                    continue;
                                }
                                y[((b * co + o) * oh + i) * ow + j] += g * x[((b * ci + c) * h + iy - pad) * wd + ix - pad];
                            }
                        }
                    }
                }
            }
        }
    }
    y
}
fn main() -> instdisc::Result<()> {
    let gpu = Gpu::open(&Default::default())?;
    for (n, ci, co, h, w, pad) in
        [(1, 3, 5, 7, 7, 1), (2, 6, 9, 5, 6, 0), (1, 4, 4, 9, 10, 2), (2, 64, 64, 16, 16, 1), (1, 5, 7, 3, 3, 3)]
    {
        let mut s = Sequence::new(1, Stream::Test, 0);
        let xv: Vec<f32> = (0..n * ci * h * w).map(|_| s.normal()).collect();
        let wv: Vec<f32> = (0..co * ci * 9).map(|_| s.normal()).collect();
        let (oh, ow) = (h + 2 * pad - 2, w + 2 * pad - 2);
        let gv: Vec<f32> = (0..n * co * oh * ow).map(|_| s.normal()).collect();
        let d = |v: &[f32]| -> Vec<f64> { v.iter().map(|&x| x as f64).collect() };
        let y = twin(&d(&xv), [n, ci, h, w], &d(&wv), co, pad);
        // dx, dw
        let (xd, wd_, gd) = (d(&xv), d(&wv), d(&gv));
        let mut dx = vec![0.0; xv.len()];
        let mut dw = vec![0.0; wv.len()];
        for b in 0..n {
            for o in 0..co {
                for c in 0..ci {
                    for r in 0..3 {
                        for q in 0..3 {
                            let k = ((o * ci + c) * 3 + r) * 3 + q;
                            for i in 0..oh {
                                let iy = i + r;
                                if iy < pad || iy - pad >= h {
                                    continue;
                                }
                                for j in 0..ow {
                                    let ix = j + q;
                                    if ix < pad || ix - pad >= w {
                                        continue;
                                    }
                                    let a = ((b * ci + c) * h + iy - pad) * w + ix - pad;
                                    let e = ((b * co + o) * oh + i) * ow + j;
                                    dx[a] += gd[e] * wd_[k];
                                    dw[k] += gd[e] * xd[a];
                                }
                            }
                        }
                    }
                }
            }
        }
        for f in [
            "direct lanes 8x4",
            "winograd2 lanes 8x4",
            "winograd4 lanes 8x4",
            "winograd2 lanes 32x1 across 8",
            "winograd4 lanes 32x1 across 8",
        ] {
            let mut c = instdisc::gpu::Choices::default();
            c.set("*", f);
            let gpu = gpu.with_choices(c);
            let mut t = Tape::new(&gpu);
            let x = t.input("x", &[n, ci, h, w], Layout::Rows)?;
            let wt = t.input("w", &[co, ci, 3, 3], Layout::Weight)?;
            t.track(x)?;
            t.track(wt)?;
            let yt = ops::conv2d(&mut t, x, wt, Conv { stride: 1, pad, groups: 1 })?;
            let up = t.input("g", &[n, co, oh, ow], Layout::Rows)?;
            t.backward_from(yt, up)?;
            let (gx, gw) = (t.grad(x)?, t.grad(wt)?);
            let mut p = t.compile_guarded()?;
            p.write(x, &xv)?;
            p.write(wt, &wv)?;
            p.write(up, &gv)?;
            p.run()?;
            let e = |a: &[f32], b: &[f64]| {
                let (mut e, mut m) = (0.0, 0.0);
                for (a, b) in a.iter().zip(b) {
                    e += (*a as f64 - b).powi(2);
                    m += b * b;
                }
                (e / m).sqrt()
            };
            println!(
                "{n} {ci}->{co} {h}x{w} pad {pad} {f}: y {:.2e} dx {:.2e} dw {:.2e} {:?}",
                e(&p.read(yt)?, &y),
                e(&p.read(gx)?, &dx),
                e(&p.read(gw)?, &dw),
                p.inspect()?
            );
        }
    }
    Ok(())
}
