// softplus: ln(1 + e^a) with its relative precision kept where e^a is small: 1 + e^a would round it away.

fn softplus(a: f32) -> f32 {
    let e = exp(-abs(a));
    let series = e * (1.0 - e * (0.5 - e * (1.0 / 3.0 - e * 0.25)));
    return max(a, 0.0) + select(log(1.0 + e), series, e < 0.01);
}
