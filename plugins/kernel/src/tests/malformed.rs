//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// A counter that reads 0, or less than before, for one tick, as that of a driver that is reset. Right: nothing for that tick, and then the
/// counter as it is. One that stays low counts anew.
#[test]
fn softnet_counter_that_dips_gains_nothing() {
    let line = |processed: u64| softnet_line(processed, 0, 0) + &softnet_line(7, 0, 1);
    let key = "kernel.softnet_processed_total";
    for (values, expected) in [
        (
            [3_000_000_000, 0, 3_000_000_100, 3_000_000_200],
            [Some(3_000_000_007_u64), None, Some(3_000_000_107), Some(3_000_000_207)],
        ),
        ([1000, 0, 1100, 1200], [Some(1007), None, Some(1107), Some(1207)]),
        ([u64::from(u32::MAX), 0, 5, 6], [Some(4_294_967_302), None, Some(4_294_967_308), Some(4_294_967_309)]),
        ([3_000_000_000, 5, 6, 7], [Some(3_000_000_007), None, Some(13), Some(14)]),
    ] {
        let mut host = web();
        host.file(SOFTNET, line(values[0]));
        let mut kernel = start(host, "{}");
        let got = values.map(|value| {
            kernel.host().file(SOFTNET, line(value));
            kernel.allow_counter_reset();
            kernel.tick().expect("a sample").get(key).cloned()
        });
        assert_eq!(got, expected.map(|value| value.map(Value::Natural)), "{values:?}");
    }
}

/// A first line that is garbled, or a file that has its lines twice. Right: 64-bit sums that go on, with CPU numbers and without.
#[test]
fn odd_softnet_file_keeps_the_sums() {
    let named = |at: u64| softnet_line(at, 0, 0) + &softnet_line(100, 0, 1) + &softnet_line(0, 0, 2);
    let unnamed =
        |at: u64| format!("{at:08x} 00000000 00000000\n00000064 00000000 00000000\n00000000 00000000 00000000\n");
    for file in [&named as &dyn Fn(u64) -> String, &unnamed] {
        let mut host = web();
        host.file(SOFTNET, file(0xffff_ff00));
        let mut kernel = start(host, "{}");
        kernel.tick().expect("a sample");
        let mut sum = |text: String| {
            kernel.host().file(SOFTNET, text);
            kernel.tick().expect("a sample").get("kernel.softnet_processed_total").cloned()
        };
        let expected = |low: u64| Some(Value::Natural((1 << 32) + low + 100));
        assert_eq!(sum(file(5)), expected(5));
        let rest = file(6).lines().skip(1).map(|line| line.to_owned() + "\n").collect::<String>();
        assert_eq!(sum("zz zz\n".to_owned() + &rest), None);
        assert_eq!(sum(file(7)), expected(7));
        assert_eq!(sum(file(8).repeat(2)), expected(8));
        assert_eq!(sum(file(9)), expected(9));
    }
}

/// A number of kilobytes that is no number of bytes. Right: nothing, with a report.
#[test]
fn paged_bytes_beyond_their_bound_are_left_out() {
    let mut host = web();
    host.file("/proc/vmstat", "pgpgin 9007199254740992\npgpgout 9007199254740991\n");
    let mut kernel = start(host, "{}");
    let sample = kernel.tick().expect("a sample");
    assert_eq!(sample.get("kernel.paged_in_bytes_total"), None);
    assert_eq!(sample["kernel.paged_out_bytes_total"], 9_007_199_254_740_991_u64 * 1024);
    let why =
        "WARN without paged_in_bytes_total: /proc/vmstat line 1 is malformed: 9007199254740992 is impossible (pgpgin)";
    assert!(kernel.host().warnings()[0].starts_with(why), "{:?}", kernel.host().warnings());
}
