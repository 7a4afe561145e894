//! `stepstone bench`: tokens per second on this machine, and where the time goes.

use crate::exit::{self, Failure};
use crate::flags;
use crate::remedy::Setting;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, Write};
use std::time::{Duration, Instant};
use stepstone_engine::{InstructionSet, Phase, Times};
use stepstone_train::{Benchmark, Shape, TrainError};

/// Measure training and inference on this machine, with random weights and made-up data.
///
/// The encoders are S (BERT, 4 layers of width 256), M (BERT, 6 x 384) and B (RoBERTa-base, 12 x 768; 2.6 GiB of memory).
/// A batch has 32 sequences of 39 tokens on average. No files are read or written.
///
/// Example: stepstone bench M --threads 2
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Encoder to measure
    #[arg(value_enum, default_value_t = Size::M, ignore_case = true)]
    size: Size,
    /// Threads [default: all cores]
    #[arg(long, value_parser = flags::count())]
    threads: Option<usize>,
    /// f32 lanes per vector: 16 with AVX-512, 8 with AVX2 [default: the most available]
    #[arg(long, value_name = "COUNT", value_parser = flags::count())]
    lanes: Option<usize>,
    /// Seconds to measure training, and again inference; at least three batches each
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Answer each line of standard input with the milliseconds of one step: the protocol of bench/README.md
    #[arg(long, hide = true)]
    serve: Option<Work>,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
#[value(rename_all = "verbatim")]
enum Size {
    S,
    M,
    B,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Work {
    Training,
    Inference,
}

/// The output of `--json`. Rates count tokens without padding.
#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    size: String,
    threads: usize,
    /// Number of f32 lanes in a vector.
    vector_lanes: usize,
    tokens_per_batch: f64,
    training: Speed,
    inference: Speed,
    /// Peak rate of fused multiply-adds in registers, in 10^9 floating-point operations per second.
    fma_gflops: f64,
    peak_memory_mib: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Speed {
    batches: usize,
    tokens_per_second: f64,
    /// Median over the batches, in milliseconds.
    median_ms: f64,
    /// Mean time of each phase per batch, in milliseconds.
    phases_ms: BTreeMap<&'static str, f64>,
    /// Rate of the matrix products during their own phases, without packing.
    gemm_gflops: f64,
    /// Rate of the matrix products relative to the total time.
    step_gflops: f64,
}

/// Minimum number of batches per measurement.
// With three, the median already ignores one disturbed batch.
const FEWEST: usize = 3;
/// Unmeasured batches at the start, because the first ones touch fresh memory.
const WARMUP: usize = 2;

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let threads = args.threads.unwrap_or_else(super::all_cores);
    let shape = match args.size {
        Size::S => Shape::S,
        Size::M => Shape::M,
        Size::B => Shape::B,
    };
    let failed = |error: TrainError| Failure::new("cannot measure".into(), &error, &Setting::Nowhere);
    // Also refuses NaN, infinity and numbers too large for a duration.
    let time = Duration::try_from_secs_f64(args.seconds).map_err(|_| {
        Failure::usage(format!("--seconds {} is not a duration", args.seconds), "give 0 or more seconds".into())
    })?;
    let instructions = instructions(args.lanes)?;
    let mut benchmark = Benchmark::new(shape, threads, instructions).map_err(failed)?;
    if let Some(work) = args.serve {
        return serve(&mut benchmark, work, out);
    }
    let training = measure(&mut benchmark, Work::Training, time).map_err(failed)?;
    let inference = measure(&mut benchmark, Work::Inference, time).map_err(failed)?;
    let tokens = benchmark.tokens();
    let report = Report {
        format: 1,
        size: format!("{:?}", args.size),
        threads,
        vector_lanes: benchmark.lanes(),
        tokens_per_batch: tokens.iter().sum::<usize>() as f64 / tokens.len() as f64,
        training,
        inference,
        fma_gflops: benchmark.fma_rate() / 1e9,
        peak_memory_mib: peak_memory_mib(),
    };
    let text = if args.json {
        serde_json::to_string_pretty(&report).map_err(|error| Failure::output(error.into()))? + "\n"
    } else {
        table(&report)
    };
    out.write_all(text.as_bytes()).map_err(Failure::output)?;
    Ok(exit::OK)
}

fn instructions(lanes: Option<usize>) -> Result<InstructionSet, Failure> {
    let Some(lanes) = lanes else { return Ok(InstructionSet::best()) };
    // Scalar code uses the `gemm` crate for matrix products, which uses vectors anyway, so one lane cannot be measured.
    let available: Vec<InstructionSet> =
        InstructionSet::available().into_iter().filter(|set| set.lanes() > 1).collect();
    available.iter().find(|set| set.lanes() == lanes).copied().ok_or_else(|| {
        let counts: Vec<String> = available.iter().map(|set| set.lanes().to_string()).collect();
        Failure::usage(
            format!("this machine has no vectors with {lanes} lanes"),
            format!("on this machine, --lanes takes {}", counts.join(" or ")),
        )
    })
}

fn work_on(benchmark: &mut Benchmark, work: Work, number: usize) -> Result<(), TrainError> {
    match work {
        Work::Training => benchmark.train(number).map(|_| ()),
        Work::Inference => {
            benchmark.infer(number);
            Ok(())
        }
    }
}

fn measure(benchmark: &mut Benchmark, work: Work, time: Duration) -> Result<Speed, TrainError> {
    for number in 0..WARMUP {
        work_on(benchmark, work, number)?;
    }
    // Discards the times of the warm-up batches.
    benchmark.take_times();
    let tokens = benchmark.tokens();
    let (mut seconds, mut done) = (Vec::new(), 0);
    let start = Instant::now();
    // Whole batches only, so `--seconds 0` still measures the minimum number.
    while seconds.len() < FEWEST || start.elapsed() < time {
        let number = seconds.len() % tokens.len();
        let started = Instant::now();
        work_on(benchmark, work, number)?;
        seconds.push(started.elapsed().as_secs_f64());
        // Batches differ in length, and the last pass over them may be incomplete, so tokens are summed batch by batch.
        done += tokens[number];
    }
    let (total, times, batches) = (seconds.iter().sum::<f64>(), benchmark.take_times(), seconds.len());
    let per_batch = |phase: Phase| 1e3 * times[phase].as_secs_f64() / batches as f64;
    seconds.sort_by(f64::total_cmp); // the median ignores steps that another program disturbed; the mean would not
    Ok(Speed {
        batches,
        tokens_per_second: done as f64 / total,
        median_ms: 1e3 * seconds[batches / 2],
        phases_ms: Phase::ALL.into_iter().map(|phase| (phase.name(), per_batch(phase))).collect(),
        gemm_gflops: gflops(&times, products(&times)),
        step_gflops: times.gemm_flops as f64 / total / 1e9,
    })
}

fn products(times: &Times) -> Duration {
    times[Phase::GemmForward] + times[Phase::DataGradient] + times[Phase::WeightGradient]
}

fn gflops(times: &Times, time: Duration) -> f64 {
    times.gemm_flops as f64 / time.as_secs_f64() / 1e9
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "{}: 32 sequences and {:.0} tokens per batch; f32, {} thread{}, {} lanes\n\n",
        report.size,
        report.tokens_per_batch,
        report.threads,
        if report.threads == 1 { "" } else { "s" },
        report.vector_lanes
    );
    let speeds = [("training", &report.training), ("inference", &report.inference)];
    let mut line = |name: &str, cells: [String; 2]| {
        let _ = writeln!(text, "{name:<32}{:>14}{:>14}", cells[0], cells[1]);
    };
    let each = |of: &dyn Fn(&Speed) -> String| speeds.map(|(_, speed)| of(speed));
    line("", speeds.map(|(name, _)| name.to_owned()));
    line("tokens per second", each(&|speed| format!("{:.0}", speed.tokens_per_second)));
    line("ms per batch (median)", each(&|speed| format!("{:.1}", speed.median_ms)));
    for phase in Phase::ALL {
        let of = |speed: &Speed| {
            // Shares of the sum of all phases, so that the column adds up to 100 %.
            let (ms, total) = (speed.phases_ms[phase.name()], speed.phases_ms.values().sum::<f64>());
            if ms == 0.0 { "-".to_owned() } else { format!("{ms:.1} {:>3.0} %", 100.0 * ms / total) }
        };
        line(&format!("  {}", phase.name().replace('_', " ")), each(&of));
    }
    // Shares refer to the rate measured on this machine, so that they can be compared between machines.
    let share = |gflops: f64| format!("{gflops:.0} {:>3.0} %", 100.0 * gflops / report.fma_gflops);
    line("GFLOP/s, matrix products", each(&|speed| share(speed.gemm_gflops)));
    line("GFLOP/s, overall", each(&|speed| share(speed.step_gflops)));
    let _ = writeln!(
        text,
        "\nIn the last two rows, 100 % is {:.0} GFLOP/s: the rate of fused multiply-adds\non registers.",
        report.fma_gflops
    );
    if let Some(mib) = report.peak_memory_mib {
        let _ = writeln!(text, "Peak memory: {mib} MiB.");
    }
    text
}

/// Serves the protocol of bench/README.md.
fn serve(benchmark: &mut Benchmark, work: Work, out: &mut impl Write) -> Result<u8, Failure> {
    let failed = |error: TrainError| Failure::new("cannot measure".into(), &error, &Setting::Nowhere);
    for number in 0..=WARMUP {
        work_on(benchmark, work, number).map_err(failed)?;
    }
    let tokens: Vec<String> = benchmark.tokens().iter().map(usize::to_string).collect();
    writeln!(out, "ready {}", tokens.join(" ")).and_then(|()| out.flush()).map_err(Failure::output)?;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(Failure::input)?;
        let number: usize = line.trim().parse().map_err(|_| {
            Failure::data("cannot continue".into(), format!("standard input: found `{line}`, expected a batch number"))
        })?;
        let start = Instant::now();
        work_on(benchmark, work, number).map_err(failed)?;
        let milliseconds = 1e3 * start.elapsed().as_secs_f64();
        // Flushed, because the other side sends its next line only after it has read this one.
        writeln!(out, "{milliseconds:.3}").and_then(|()| out.flush()).map_err(Failure::output)?;
    }
    writeln!(out, "rss {}", peak_memory_mib().unwrap_or(0)).map_err(Failure::output)?;
    Ok(exit::OK)
}

/// Peak memory of this process: `VmHWM` on Linux.
fn peak_memory_mib() -> Option<u64> {
    // The kernel keeps this high-water mark itself, so memory need not be sampled while the work runs.
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
