//! Files and figures that are damaged in ways of their own, with what is still right.

use super::*;

/// The sample and the warnings of a `/proc/meminfo` after a whole line.
fn measured(rest: &str) -> (String, Vec<String>) {
    let mut meminfo = start(host(&format!("MemTotal: 4 kB\n{rest}")), "{}");
    let sample = meminfo.tick().expect("a sample").render();
    (
        sample.replace("meminfo.MemTotal_bytes 4096\n", ""),
        meminfo.host().warnings().into_iter().map(str::to_owned).collect(),
    )
}

#[test]
fn lines_that_are_no_field_are_reported() {
    let many_letters = "a".repeat(101);
    for (line, why) in [
        ("MemFree", "without the field: /proc/meminfo line 2 is malformed: has no field"),
        (": 7 kB", "without the field: /proc/meminfo line 2 is malformed: has no name of a field"),
        ("<b>: 7 kB", "without the field: /proc/meminfo line 2 is malformed: has no name of a field"),
        (&*format!("{many_letters}: 7 kB"), "line 2 is malformed: has no name of a field"),
        ("MemFree:", "without MemFree: /proc/meminfo line 2 is truncated: missing MemFree"),
        ("MemFree: many kB", "without MemFree: /proc/meminfo line 2 is malformed: many is not a number (MemFree)"),
        ("MemFree: -7 kB", "-7 is not a number (MemFree)"),
        ("MemFree: 7 MB", "without MemFree: /proc/meminfo line 2 is malformed: MB is not the unit kB"),
        ("MemFree: 7", "without MemFree: /proc/meminfo line 2 is truncated: has no unit"),
        ("HugePages_Free: 7 kB", "without HugePages_Free: /proc/meminfo line 2 is malformed: has a unit, although"),
    ] {
        let (sample, warnings) = measured(&format!("{line}\n"));
        assert_eq!((&*sample, warnings.len()), ("", 1), "{line}: {warnings:?}");
        assert!(warnings[0].contains(why), "{warnings:?}");
    }
}

/// Whoever writes the file less than whole may have cut a number, which is then another one.
#[test]
fn last_line_without_its_end_is_left_out() {
    for line in ["MemFree: 7 kB", "HugePages_Total: 5"] {
        let (sample, warnings) = measured(line);
        assert_eq!((&*sample, warnings.len()), ("", 1));
        assert!(warnings[0].ends_with("/proc/meminfo line 2 is truncated: has no end"), "{warnings:?}");
    }
}

#[test]
fn first_of_two_equal_fields_holds() {
    let (sample, warnings) = measured("MemFree: 7 kB\nMemFree: 8 kB\nMemTotal: 9 kB\n");
    assert_eq!((&*sample, warnings.len()), ("meminfo.MemFree_bytes 7168\n", 0));
}

/// `Active(anon)` and a field that is called `Active_anon` would be one metric.
#[test]
fn fields_of_one_name_are_one_metric() {
    let (sample, _) = measured("Active(anon): 7 kB\nActive_anon: 8 kB\n");
    assert_eq!(sample, "meminfo.Active_anon_bytes 7168\n");
}

#[test]
fn fields_beyond_the_limit_are_left_out() {
    let lines: Vec<String> = (0..fields::MAX_FIELDS).map(|at| format!("Field{at}: 1 kB\n")).collect();
    let (sample, warnings) = measured(&lines.concat());
    assert_eq!(sample.lines().count(), fields::MAX_FIELDS - 1);
    assert!(warnings[0].contains("has more than the 500 fields that are measured"), "{warnings:?}");
}

/// A sample has no fields that the text does not have.
#[test]
fn any_text_is_a_sample_or_an_error() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 11).unwrap_or_default() % below
    };
    let parts =
        ["MemFree", "Active(anon)", "X", ":", " ", "kB", "\n", "7", "18446744073709551615", "-1", "\0", "é", "(", ")"];
    for _ in 0..3000 {
        let text: String = (0..random(40)).map(|_| parts[random(parts.len())]).collect();
        // The harness checks the SDK's rules: names, labels, numbers.
        let Ok(sample) = start(host(&text), "{}").tick() else { continue };
        let flat = text.replace(')', "").replace('(', "_");
        for key in sample.keys() {
            let name = key.strip_prefix("meminfo.").expect("the module").trim_end_matches("_bytes");
            assert!(flat.contains(&format!("{name}:")), "{key} of {text:?}");
        }
        assert!(sample.len() <= text.lines().count(), "{text:?}");
    }
}
