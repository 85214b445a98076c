// step: what changes from one training step to the next; written by the host before each replay.

struct Step {
    number: u32,
    seed_low: u32,
    seed_mix: u32,
    lr: f32,
}

// The key of a random stream (the numbers of `Stream` in src/rng.rs).
fn stream_key(step: Step, stream: u32) -> vec2<u32> {
    return vec2<u32>(step.seed_low, step.seed_mix ^ (stream * 0x85ebca6bu));
}
