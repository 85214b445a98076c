//! Inside an application that owns the device: its handler, its device and its buffers are left as they were.
#![allow(clippy::print_stdout, reason = "the scorecard is assembled from standard output")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use instdisc::data::{Image, Memory};
use instdisc::error::Error;
use instdisc::gpu::{Bound, Gpu};
use instdisc::nn::{Block, ResNetConfig, Stem};
use instdisc::npid::{Loss, Method};
use instdisc::ops::{self, Augmentation};
use instdisc::optim::Schedule;
use instdisc::shape::Layout;
use instdisc::tape::{Element, Tape};
use instdisc::train::{Config, Run, RunOptions};
use instdisc::wgpu;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An application: a device with base limits and no features, and a handler that counts.
struct App {
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    errors: Arc<AtomicU64>,
}

impl App {
    fn new(limits: wgpu::Limits) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("application"),
            required_features: wgpu::Features::empty(),
            required_limits: limits,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        let errors = Arc::new(AtomicU64::new(0));
        let sink = errors.clone();
        device.on_uncaptured_error(Arc::new(move |_| {
            sink.fetch_add(1, Ordering::SeqCst);
        }));
        Self { adapter, device, queue, errors }
    }

    fn gpu(&self) -> Gpu {
        Gpu::from_wgpu(&self.adapter, self.device.clone(), self.queue.clone())
    }

    /// A storage buffer of the application with these words.
    fn buffer(&self, words: &[u32]) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let size = words.len() as u64 * 4;
        let descriptor = wgpu::BufferDescriptor { label: Some("own"), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    }

    /// The words of a buffer, read with wgpu alone.
    fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size: buffer.size(), usage, mapped_at_creation: false };
        let staging = self.device.create_buffer(&descriptor);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let view = staging.slice(..).get_mapped_range().unwrap();
        view.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// Do something that wgpu refuses, outside of all scopes.
    fn err(&self) {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::STORAGE;
        let _ =
            self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("bad"), size: 16, usage, mapped_at_creation: false });
    }
}

fn try_run(gpu: &Gpu, seed: u64) -> instdisc::Result<Run> {
    let images = (0..12u32).map(|i| Image::new(16, 16, (0..768).map(|k| (i * 53 + k * (i + 1)) as u8).collect()).unwrap());
    let config = Config {
        images: 12,
        names: 0,
        limit: None,
        exclude: Vec::new(),
        net: ResNetConfig { block: Block::Basic, blocks: vec![1, 1], width: 6, groups: 1, stem: Stem::Half, dim: 16 },
        method: Method { loss: Loss::Softmax, ..Method::default() },
        augmentation: Augmentation::paper(16),
        batch: 4,
        accumulate: 1,
        epochs: 3,
        lr: 0.03,
        schedule: Schedule::Step,
        momentum: 0.9,
        weight_decay: 5e-4,
        seed,
    };
    Run::new(gpu, config, Arc::new(Memory::new(images.collect()).unwrap()), None)
}

fn run(gpu: &Gpu, seed: u64) -> Run {
    try_run(gpu, seed).unwrap()
}

fn train(gpu: &Gpu, seed: u64) -> Vec<u8> {
    trained(&mut run(gpu, seed), 0)
}

/// The state after training, with some of the steps profiled.
fn trained(run: &mut Run, profile: usize) -> Vec<u8> {
    run.train(&RunOptions { eval_every: 0, profile, ..RunOptions::default() }, &mut |_| {}).unwrap();
    let mut file = run.capture().unwrap();
    file.metadata.clear();
    file.encode().unwrap()
}

#[test]
fn an_application_finds_its_handler_device_and_buffers_as_they_were() {
    let expected = train(&Gpu::open(&Default::default()).unwrap(), 1);
    for (name, limits) in [("default", wgpu::Limits::default()), ("downlevel", wgpu::Limits::downlevel_defaults())] {
        let app = App::new(limits);
        let contents: Vec<u32> = (0..1000).map(|i| i * 7 + 1).collect();
        let own = app.buffer(&contents);
        let gpu = app.gpu();
        match name {
            "default" => {
                assert!(train(&gpu, 1) == expected, "base limits gave other bits");
                // Without the feature for stamps a profile goes by the host's clock, dispatch by dispatch.
                let mut run = run(&gpu, 1);
                let dispatches = run.dispatches();
                assert!(trained(&mut run, 2) == expected, "profiled by the host's clock: other bits");
                let profile = run.profile().unwrap();
                assert_eq!((profile.clock, profile.steps, profile.rows.len()), ("host", 2, dispatches));
                assert!(profile.rows.iter().all(|row| row.ms > 0.0) && profile.text().contains("by the host's clock"));
            }
            // Four storage buffers a kernel are too few: an error, and nothing else.
            _ => match try_run(&gpu, 1) {
                Err(error @ Error::Limit { .. }) => println!("scorecard embedding: downlevel limits give `{error}`"),
                other => panic!("{:?}", other.map(drop)),
            },
        }
        assert_eq!(app.errors.load(Ordering::SeqCst), 0, "{name}: an error of ours reached the application");
        // An error of ours, inside our scopes, is not the application's.
        assert!(gpu.buffer("far too large", 1 << 40).is_err());
        assert_eq!(app.errors.load(Ordering::SeqCst), 0);
        app.err();
        assert_eq!(app.errors.load(Ordering::SeqCst), 1, "{name}: the application's handler is gone");
        assert_eq!(gpu.uncaptured_errors(), 0);
        drop(gpu);
        assert_eq!(app.read(&own), contents, "{name}: the application's buffer changed");
        assert_eq!(app.read(&app.buffer(&[1, 2, 3, 4])), [1, 2, 3, 4], "{name}: the device is gone");
        assert_eq!(app.errors.load(Ordering::SeqCst), 1);
    }
    println!(
        "scorecard embedding: training on a device with base limits and no features gives the bits of a device of our own; handler, device, buffers untouched"
    );
}

#[test]
fn two_gpus_live_side_by_side() {
    let app = App::new(wgpu::Limits::default());
    let (first, second, third) = (app.gpu(), app.gpu(), Gpu::open(&Default::default()).unwrap());
    let expected = train(&third, 5);
    // Two on one device and one on another, their steps interleaved, then from two threads.
    let mut runs = [run(&first, 5), run(&second, 5), run(&third, 5)];
    for epoch in 1..=3 {
        for run in &mut runs {
            let options = RunOptions { eval_every: 0, stop_after: Some(epoch), ..RunOptions::default() };
            run.train(&options, &mut |_| {}).unwrap();
        }
    }
    for run in &runs {
        let mut file = run.capture().unwrap();
        file.metadata.clear();
        assert!(file.encode().unwrap() == expected);
    }
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = [&second, &third].map(|gpu| scope.spawn(move || train(gpu, 5))).into();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(results.iter().all(|result| *result == expected));
    // A tensor or program of one is not taken by the other's tape.
    let mut tape = Tape::new(&first);
    let x = tape.input("x", &[4], Layout::Rows).unwrap();
    assert!(ops::relu(&mut Tape::new(&second), x).is_err(), "a tensor of another tape was taken");
    assert_eq!((app.errors.load(Ordering::SeqCst), third.uncaptured_errors()), (0, 0));
    println!("scorecard embedding: 3 Gpus on 2 devices, interleaved and from 2 threads, all the same bits");
}

#[test]
fn an_application_encodes_and_submits_by_itself_and_shares_buffers() {
    let app = App::new(wgpu::Limits::default());
    let gpu = app.gpu();
    let values = [1.0f32, -2.0, 3.0, -4.0, 0.5, -0.0, 7.0, -8.0];
    let words: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
    // Offset and length show that a range of the buffer is used, not all of it.
    let align = gpu.limits().min_storage_buffer_offset_alignment as usize / 4;
    let mut all = vec![0xdead_beef; align];
    all.extend(&words);
    all.extend([0xdead_beef; 4]);
    let own = app.buffer(&all);
    let mut tape = Tape::new(&gpu);
    let buffer = gpu.adopt(own.clone()).unwrap();
    let before = gpu.bytes();
    let range = Bound { buffer, offset: align, words: 8 };
    let x = tape.bound("x", &[2, 4], Layout::Rows, Element::F32, range).unwrap();
    let y = ops::relu(&mut tape, x).unwrap();
    tape.keep(y).unwrap();
    let program = tape.compile().unwrap();
    assert_eq!(before.0, 0, "an adopted buffer is not ours to count");
    let mut encoder = app.device.create_command_encoder(&Default::default());
    program.encode(&mut encoder);
    let ours = program.range(y).unwrap();
    let copy = app.buffer(&[0; 8]);
    encoder.copy_buffer_to_buffer(ours.buffer.wgpu(), ours.offset as u64 * 4, &copy, 0, 32);
    assert!(program.read(y).unwrap().iter().all(|v| *v == 0.0), "nothing may run before the application submits");
    app.queue.submit([encoder.finish()]);
    let expected = [1.0, 0.0, 3.0, 0.0, 0.5, 0.0, 7.0, 0.0];
    let got: Vec<f32> = app.read(&copy).into_iter().map(f32::from_bits).collect();
    assert_eq!(got, expected);
    assert_eq!(program.read(y).unwrap(), expected);
    assert_eq!(app.read(&own), all, "the application's buffer changed");
    // What cannot be bound is refused in words.
    let usage = wgpu::BufferUsages::VERTEX;
    let vertex = app.device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 64, usage, mapped_at_creation: false });
    let text = gpu.adopt(vertex).err().unwrap().to_string();
    assert!(text.contains("STORAGE | COPY_SRC | COPY_DST"), "{text}");
    drop((program, ours));
    assert_eq!(gpu.bytes().0, 0);
    assert_eq!(app.errors.load(Ordering::SeqCst), 0);
    println!(
        "scorecard embedding: encoded into the application's encoder, submitted by it, read by it; adopted buffer as input, unchanged"
    );
}

#[test]
fn a_device_that_the_application_destroyed_without_a_word_is_a_lost_device() {
    let options = RunOptions { eval_every: 0, ..RunOptions::default() };
    type Call = (&'static str, fn(&Gpu, &mut Run, &RunOptions) -> instdisc::Result<()>);
    let calls: [Call; 5] = [
        ("train", |_, run, options| run.train(options, &mut |_| {}).map(drop)),
        ("capture", |_, run, _| run.capture().map(drop)),
        ("buffer and read", |gpu, _, _| gpu.buffer("x", 4).and_then(|buffer| gpu.read_now(&buffer, 0, 4)).map(drop)),
        ("a tape", |gpu, _, _| {
            let mut tape = Tape::new(gpu);
            let x = tape.input("x", &[2, 4], Layout::Rows)?;
            let y = ops::relu(&mut tape, x)?;
            tape.keep(y)?;
            let mut program = tape.compile()?;
            program.write(x, &[1.0; 8])?;
            program.run()?;
            program.read(y).map(drop)
        }),
        ("a new run", |gpu, _, _| try_run(gpu, 3).map(drop)),
    ];
    for (name, call) in calls {
        let app = App::new(wgpu::Limits::default());
        let gpu = app.gpu();
        let mut run = run(&gpu, 2);
        app.device.destroy();
        let error = call(&gpu, &mut run, &options).expect_err(name);
        assert!(matches!(error, Error::DeviceLost { .. }), "{name}: {error}");
        assert!(matches!(gpu.check(), Err(Error::DeviceLost { .. })), "{name}: the next call knows nothing of it");
    }
    println!("scorecard embedding: a device destroyed without notify_lost is a lost device to {} kinds of calls", calls.len());
}

#[test]
fn a_loss_that_the_application_tells_us_of_is_returned_by_the_next_call() {
    let app = App::new(wgpu::Limits::default());
    let gpu = app.gpu();
    let mut run = run(&gpu, 2);
    gpu.notify_lost("the application says so");
    let options = RunOptions { eval_every: 0, ..RunOptions::default() };
    for result in [run.train(&options, &mut |_| {}).map(drop), run.capture().map(drop), gpu.buffer("x", 4).map(drop), gpu.wait()]
    {
        let Err(error @ Error::DeviceLost { .. }) = result else { panic!("{result:?}") };
        assert!(error.to_string().contains("the application says so"), "{error}");
    }
    // Another Gpu on the same device knows nothing of it, and the device is well.
    assert!(app.gpu().buffer("x", 4).is_ok());
    assert_eq!(app.errors.load(Ordering::SeqCst), 0);
}

#[test]
fn a_loss_that_nobody_tells_us_of_is_an_error_and_no_hang() {
    let app = App::new(wgpu::Limits::default());
    let gpu = app.gpu();
    let mut run = run(&gpu, 2);
    app.device.destroy();
    let options = RunOptions { eval_every: 0, ..RunOptions::default() };
    let error = run.train(&options, &mut |_| {}).map(drop).unwrap_err();
    println!("scorecard embedding: an untold loss gives `{}`", error.to_string().lines().next().unwrap_or_default());
}
