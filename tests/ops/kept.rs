//! What the host may read and write: inputs, state, and what the tape was told to keep.

use crate::gpu;
use instdisc::error::Error;
use instdisc::ops;
use instdisc::shape::Layout;
use instdisc::tape::Tape;

/// Memory of tensors that were not kept holds others by the end of the program: their numbers are nobody's answer.
#[test]
fn a_tensor_that_was_not_kept_is_refused() {
    let record = || {
        let mut tape = Tape::new(gpu());
        let x = tape.input("x", &[2, 4], Layout::Rows).unwrap();
        let passing = ops::scale(&mut tape, x, 2.0).unwrap();
        let next = ops::scale(&mut tape, passing, 3.0).unwrap();
        let over = ops::scale(&mut tape, next, 5.0).unwrap(); // stands where `passing` stood
        let last = ops::scale(&mut tape, over, 0.5).unwrap();
        tape.keep(last).unwrap();
        (tape, x, passing, last)
    };
    let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
    let (tape, x, passing, last) = record();
    let name = tape.name(passing).to_owned();
    let mut program = tape.compile().unwrap();
    program.write(x, &values).unwrap();
    program.run().unwrap();
    let refused = [
        program.read(passing).map(drop),
        program.read_words(passing).map(drop),
        program.read_later(passing).map(drop),
        program.range(passing).map(drop),
        program.write(passing, &values),
    ];
    for result in refused {
        let Err(error @ Error::Value { .. }) = result else { panic!("{result:?}") };
        let text = error.to_string();
        assert!(text.contains("Tape::keep") && text.contains(&name), "{text}");
    }
    assert_eq!(program.read(x).unwrap(), values);
    assert_eq!(program.read(last).unwrap(), values.map(|v| v * 15.0));
    assert!(program.range(last).is_ok());

    // Some of the dispatches, and no others.
    let count = program.dispatches().len();
    program.run_range(count - 1..count).unwrap();
    for range in [0..count + 1, count + 1..count + 1] {
        for result in [program.run_range(range.clone()), program.time(range, 1).map(drop)] {
            assert!(matches!(result, Err(Error::Value { .. })), "{result:?}");
        }
    }

    // Where every tensor has a buffer of its own, each can be read.
    let (tape, x, passing, _) = record();
    let mut program = tape.compile_guarded().unwrap();
    program.write(x, &values).unwrap();
    program.run().unwrap();
    assert_eq!(program.read(passing).unwrap(), values.map(|v| v * 2.0));
}
