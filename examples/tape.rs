//! The smallest use of the tape: a linear layer learns to tell two clouds of points apart from one another.
//!
//! `cargo run --release --example tape`

use instdisc::Result;
use instdisc::gpu::Gpu;
use instdisc::optim::{Sgd, sgd};
use instdisc::shape::Layout;
use instdisc::tape::{Part, Step, StoreBuilder, Tape};
use instdisc::{ops, rng};

fn main() -> Result<()> {
    let gpu = Gpu::open(&Default::default())?;

    // Parameters live in a store; programs come and go.
    let mut builder = StoreBuilder::default();
    builder.parameter("fc.weight", &[2, 2], Layout::Weight, vec![0.5, -0.5, 0.25, 0.75])?;
    let store = builder.build(&gpu)?;

    // Record once: unit vectors of x · Wᵀ, softmax against a fixed bank of two directions.
    let mut tape = Tape::new(&gpu);
    let x = tape.input("x", &[8, 2], Layout::Rows)?;
    let bank = tape.input("bank", &[2, 2], Layout::Rows)?;
    let own = tape.input_u32("own", &[8])?;
    let weight = tape.parameter(&store, "fc.weight")?;
    let projected = ops::linear(&mut tape, x, weight, None)?;
    let f = ops::l2norm(&mut tape, projected, 1e-12)?;
    let loss = ops::softmax(&mut tape, f, bank, own, 0.2)?.loss;
    tape.keep(loss)?;
    tape.backward(loss)?;
    tape.segment("update");
    sgd(&mut tape, &store, Sgd { momentum: 0.9, weight_decay: 0.0 })?;
    let mut program = tape.compile()?;

    // Replay for every step.
    let mut random = rng::Sequence::new(1, rng::Stream::Test, 0);
    let labels: Vec<u32> = (0..8).map(|i| i % 2).collect();
    let points: Vec<f32> = labels.iter().flat_map(|&c| [c as f32 * 2.0 - 1.0, 0.3 * random.normal()]).collect();
    program.write(x, &points)?;
    program.write(bank, &[1.0, 0.0, 0.0, 1.0])?;
    program.write_u32(own, &labels)?;
    for number in 0..50 {
        program.set_step(Step { number, seed: 1, lr: 0.05 })?;
        program.run()?;
        if number % 10 == 0 {
            println!("step {number:2}: loss {:.4}", program.read(loss)?[0]);
        }
    }
    println!("loss {:.4}, weight {:.2?}", program.read(loss)?[0], store.read("fc.weight", Part::Value)?);
    Ok(())
}
