//! scratch: direct against winograd, interleaved; args: filter
use instdisc::{
    gpu::Gpu,
    ops::{self, Conv},
    rng::{Sequence, Stream},
    shape::Layout,
    tape::{Program, Tape},
};
fn prog(gpu: &Gpu, dir: u8, s: [usize; 4], f: &str) -> instdisc::Result<Program> {
    let mut c = instdisc::gpu::Choices::default();
    c.set("conv2d.forward", "direct lanes 8x1");
    if f != "0" {
        c.set(["conv2d.forward", "conv2d.grad_input", "conv2d.grad_weight"][dir as usize], f);
    }
    let gpu = &gpu.with_choices(c);
    let [n, ci, co, h] = s;
    let mut q = Sequence::new(1, Stream::Test, 0);
    let mut t = Tape::new(gpu);
    let x = t.input("x", &[n, ci, h, h], Layout::Rows)?;
    let wt = t.input("w", &[co, ci, 3, 3], Layout::Weight)?;
    if dir == 1 {
        t.track(x)?;
    }
    if dir == 2 {
        t.track(wt)?;
    }
    let y = ops::conv2d(&mut t, x, wt, Conv { stride: 1, pad: 1, groups: 1 })?;
    let mut up = None;
    if dir > 0 {
        let u = t.input("g", &[n, co, h, h], Layout::Rows)?;
        t.backward_from(y, u)?;
        up = Some(u);
    } else {
        t.keep(y)?;
    }
    let mut p = t.compile()?;
    let mut v = |k: usize| -> Vec<f32> { (0..k).map(|_| q.normal()).collect() };
    p.write(x, &v(n * ci * h * h))?;
    p.write(wt, &v(co * ci * 9))?;
    if let Some(u) = up {
        p.write(u, &v(n * co * h * h))?;
    }
    p.run()?;
    Ok(p)
}
fn range(p: &Program, dir: u8) -> std::ops::Range<usize> {
    let d = p.dispatches();
    if dir == 0 {
        return 0..d.len();
    }
    // backward dispatches come after the forward ones
    let f = 1;
    f..d.len()
}
fn cpu() -> f64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|e| {
            std::fs::read_to_string(e.unwrap().path().join("schedstat"))
                .ok()
                .and_then(|t| t.split(' ').next().map(|v| v.parse::<f64>().unwrap()))
                .unwrap_or(0.0)
        })
        .sum::<f64>()
        / 1e9
}
fn time(p: &mut Program, r: std::ops::Range<usize>, n: usize) -> f64 {
    let c = cpu();
    p.time(r, n).unwrap();
    (cpu() - c) / n as f64 / 2.0
}
fn tile_of(s: [usize; 4], dir: u8) -> &'static str {
    let c = if dir == 1 { s[1] } else { s[2] } / 4;
    match c {
        0..=4 => "8x4 down 8",
        16.. if dir == 0 => "32x2 across 8",
        _ => "32x1 across 8",
    }
}
fn main() -> instdisc::Result<()> {
    let gpu = Gpu::open(&Default::default())?;
    let filter = std::env::args().nth(1).unwrap_or_default();
    let shapes: Vec<[usize; 4]> = vec![
        [4, 64, 64, 32],
        [4, 128, 128, 16],
        [4, 256, 256, 8],
        [4, 512, 512, 4],
        [32, 64, 64, 32],
        [32, 128, 128, 16],
        [32, 256, 256, 8],
        [32, 512, 512, 4],
        [128, 16, 16, 32],
        [128, 32, 32, 16],
        [128, 64, 64, 8],
        [128, 128, 128, 4],
    ];
    for s in shapes {
        for dir in 0..3u8 {
            let name = format!(
                "b{} {}->{} {}x{} {}",
                s[0],
                s[1],
                s[2],
                s[3],
                s[3],
                ["forward", "grad_input", "grad_weight"][dir as usize]
            );
            if !name.contains(&filter) {
                continue;
            }
            let mut ps: Vec<Program> = [
                &format!("direct lanes {}", tile_of(s, dir)),
                &format!("winograd2 lanes {}", tile_of(s, dir)),
                &format!("winograd4 lanes {}", tile_of(s, dir)),
            ]
            .iter()
            .map(|f| prog(&gpu, dir, s, f))
            .collect::<Result<_, _>>()?;
            let rs: Vec<_> = ps.iter().map(|p| range(p, dir)).collect();
            let mut best = [f64::MAX; 3];
            let mut parts: Vec<Vec<f64>> = rs.iter().map(|r| vec![f64::MAX; r.len()]).collect();
            let reps: Vec<usize> = ps
                .iter_mut()
                .zip(&rs)
                .map(|(p, r)| {
                    let t = time(p, r.clone(), 1);
                    (0.03 / t).ceil().clamp(1.0, 200.0) as usize
                })
                .collect();
            for _ in 0..5 {
                for k in 0..3 {
                    let t = time(&mut ps[k], rs[k].clone(), reps[k]);
                    best[k] = best[k].min(t);
                    for (j, i) in rs[k].clone().enumerate() {
                        let t = time(&mut ps[k], i..i + 1, reps[k]);
                        parts[k][j] = parts[k][j].min(t);
                    }
                }
            }
            let fl = 2.0 * (s[0] * s[3] * s[3] * s[1] * s[2] * 9) as f64;
            println!(
                "{name}: direct {:.2} ms {:.1} GF | F2 {:.2} ms x{:.2} | F4 {:.2} ms x{:.2}",
                best[0] * 1e3,
                fl / best[0] / 1e9,
                best[1] * 1e3,
                best[0] / best[1],
                best[2] * 1e3,
                best[0] / best[2]
            );
            for k in 1..3 {
                let sum: f64 = parts[k].iter().sum();
                let l: Vec<String> = rs[k]
                    .clone()
                    .zip(&parts[k])
                    .map(|(i, t)| {
                        format!(
                            "{} {:.2} ms {:.0}%",
                            ps[k].dispatches()[i].label.trim_start_matches(": ").split(' ').next().unwrap(),
                            t * 1e3,
                            t / sum * 100.0
                        )
                    })
                    .collect();
                println!("    F{}: {}", 2 * k, l.join(", "));
            }
        }
    }
    Ok(())
}
