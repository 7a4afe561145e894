//! The benchmark: its output, and the protocol for comparisons with other programs. No test asserts a time.

use crate::workplace::stepstone;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn a_report_names_every_phase_and_charges_none_of_the_backward_ones_to_inference() {
    let output = stepstone(Path::new("."), &["bench", "S", "--threads", "2", "--seconds", "0", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((report["size"].as_str(), report["threads"].as_u64()), (Some("S"), Some(2)));
    for work in ["training", "inference"] {
        let speed = &report[work];
        assert_eq!(speed["batches"], 3, "{work}: at least three, even in no time");
        let phases: Vec<&String> = speed["phases_ms"].as_object().expect("phases").keys().collect();
        let names = ["attention", "data_gradient", "gemm_forward", "norms", "optimizer", "other", "packing"];
        assert_eq!(phases, [&names[..], &["weight_gradient"]].concat(), "{work}");
    }
    let phases = &report["inference"]["phases_ms"];
    let nothing_backward = ["data_gradient", "weight_gradient", "optimizer"].map(|phase| phases[phase].as_f64());
    assert_eq!(nothing_backward, [Some(0.0); 3], "inference has no backward pass");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_can_be_narrowed() {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return;
    }
    let output = stepstone(Path::new("."), &["bench", "S", "--lanes", "8", "--seconds", "0", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["vector_lanes"], 8);
}

#[test]
fn a_server_answers_each_batch_and_says_its_memory_at_the_end() {
    let mut server = Command::new(env!("CARGO_BIN_EXE_stepstone"))
        .args(["bench", "S", "--threads", "1", "--serve", "inference"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    // S has 20 batches, so number 21 wraps round to the second one.
    server.stdin.take().expect("a pipe").write_all(b"0\n21\n").expect("writes");
    let output = server.wait_with_output().expect("ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let [ready, first, second, rss] = lines[..] else { panic!("four lines, found {lines:?}") };
    assert_eq!(ready.split_whitespace().count(), 21, "`ready` and the tokens of 20 batches: {ready}");
    for line in [first, second] {
        assert!(line.parse::<f64>().expect("milliseconds") > 0.0, "{line}");
    }
    assert!(rss.strip_prefix("rss ").expect(rss).parse::<u64>().is_ok());
}

#[test]
fn impossible_requests_say_what_is_possible() {
    let cases: [(&[&str], &str); 4] = [
        (&["bench", "XL"], "possible values: S, M, B"),
        (&["bench", "S", "--seconds=-1"], "--seconds"),
        (&["bench", "S", "--threads", "none"], "--threads"),
        (&["bench", "S", "--lanes", "5"], "--lanes takes "),
    ];
    for (arguments, said) in cases {
        let output = stepstone(Path::new("."), arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {message}");
        assert!(message.contains(said), "{arguments:?}: {message}");
    }
}
