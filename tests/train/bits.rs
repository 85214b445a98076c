//! R41: the same seed gives the same bits, whatever the number of threads.

use crate::{LOSSES, child, device, fifty_steps, open, options, uninterrupted};
use instdisc::train::RunOptions;

const CHILD: &str = "INSTDISC_TEST_HASHES";

/// Prints the hash of each run. Does nothing in an ordinary run.
#[test]
fn child_prints_hashes() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let gpu = open();
    for (name, loss) in LOSSES {
        println!("\nhash {name} {:016x}", uninterrupted(&gpu, &fifty_steps(loss), &options()).hash());
    }
}

#[test]
fn three_runs_and_any_number_of_threads_give_the_same_bits() {
    let gpu = device();
    let mut hashes = Vec::new();
    let mut loaders = 0;
    for (name, loss) in LOSSES {
        let first = uninterrupted(&gpu, &fifty_steps(loss), &options());
        for threads in [1, 2, 4] {
            let again = uninterrupted(&gpu, &fifty_steps(loss), &RunOptions { threads, ..options() });
            assert!(again == first, "{name}: {threads} loader threads: {:016x} {:016x}", again.hash(), first.hash());
            loaders += 1;
        }
        assert!(first.losses.values().collect::<std::collections::BTreeSet<_>>().len() > 40, "the losses hardly change");
        hashes.push(format!("hash {name} {:016x}", first.hash()));
    }
    let mut drivers = 0;
    // Threads of the driver, and tensors read as buffers and as textures.
    let processes = [("LP_NUM_THREADS", "0"), ("LP_NUM_THREADS", "1"), ("INSTDISC_TEXELS", "0"), ("INSTDISC_TEXELS", "1")];
    for (variable, value) in processes {
        let output = child("bits::child_prints_hashes").env(CHILD, "1").env(variable, value).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<&str> = text.lines().filter(|line| line.starts_with("hash ")).collect();
        assert_eq!(found, hashes, "{variable}={value}: {}", String::from_utf8_lossy(&output.stderr));
        drivers += 1;
    }
    println!(
        "scorecard R41 2 losses x 50 steps: {loaders} runs again with 1, 2, 4 loader threads and {drivers} processes with 0 and 1 driver threads, with buffers and with textures: equal weights, momentum, bank, losses ({})",
        hashes.join(", ")
    );
}
