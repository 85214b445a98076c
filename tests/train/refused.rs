//! Memory that runs out at any allocation is an error, and a smaller run works afterwards.

use crate::memory::streamed;
use crate::{LOSSES, config, device, open, options};
use instdisc::Error;
use instdisc::train::{Config, Run};

/// The state after a run of three steps.
fn three_steps(gpu: &instdisc::gpu::Gpu, config: &Config) -> instdisc::Result<Vec<u8>> {
    let mut run = Run::new(gpu, config.clone(), streamed(config.images), None)?;
    run.train(&options(), &mut |_| {})?;
    run.capture()?.encode()
}

#[test]
fn out_of_memory_at_any_allocation_is_an_error_and_the_next_run_works() {
    let _turn = device();
    let gpu = open();
    let mut places = 0;
    for (name, loss) in LOSSES {
        let config = Config { batch: 3, ..config(9, loss, 1) };
        let smaller = Config { batch: 2, ..config.clone() };
        let expected = (three_steps(&gpu, &config).unwrap(), three_steps(&gpu, &smaller).unwrap());
        let (before, held) = (gpu.allocations(), gpu.bytes().0);
        three_steps(&gpu, &config).unwrap();
        let count = gpu.allocations() - before;
        assert!(count > 50, "{count}");
        for k in 0..count {
            for last in [k + 1, u64::MAX] {
                gpu.refuse_allocations(k..last);
                match three_steps(&gpu, &config) {
                    Err(Error::OutOfMemory { .. } | Error::Memory { .. }) => {}
                    Err(other) => panic!("{name}, allocation {k}: {other}"),
                    Ok(_) => panic!("{name}, allocation {k} of {count}: no error"),
                }
                gpu.refuse_allocations(0..0);
                assert_eq!(gpu.bytes().0, held, "{name}, allocation {k}: bytes are still held");
                places += 1;
            }
            if k % 16 == 0 {
                assert!(three_steps(&gpu, &smaller).unwrap() == expected.1, "{name}: a smaller run after allocation {k}");
            }
        }
        assert!(three_steps(&gpu, &config).unwrap() == expected.0, "{name}: the same run after all");
    }
    assert_eq!(gpu.uncaptured_errors(), 0);
    println!(
        "scorecard R15 out of memory at {places} allocations of 3-step runs, once and for good: an error, all bytes back, the next run works"
    );
}
