//! The module `load`, from `/proc/loadavg`: how many tasks ran or wanted to, averaged over 1, 5 and 15 minutes.

use std::path::Path;

use super::Collector;
use crate::procfs::KeptFile;
use crate::sample::Module;

const NAMES: [&str; 3] = ["1min", "5min", "15min"];

/// Collects the module `load`.
pub(super) struct Load {
    loadavg: KeptFile,
}

impl Load {
    /// Opens nothing yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { loadavg: KeptFile::new(root, "/proc/loadavg") }
    }
}

impl Collector for Load {
    fn collect(&mut self, modules: &mut Vec<Module>) {
        let averages = self.loadavg.read(parse);
        let mut module = Module::new("load");
        for (at, name) in NAMES.into_iter().enumerate() {
            module.push(name, averages.map(|averages| averages[at]));
        }
        modules.push(module);
    }
}

fn parse(loadavg: &[u8]) -> Result<[f64; NAMES.len()], &'static str> {
    let text = str::from_utf8(loadavg).map_err(|_| "not text")?;
    let mut words = text.split_ascii_whitespace();
    let mut averages = [0.0; NAMES.len()];
    for average in &mut averages {
        let word = words.next().ok_or("fewer than three averages")?;
        *average = word.parse().ok().filter(|average: &f64| average.is_finite()).ok_or("an average is not a number")?;
    }
    Ok(averages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_three_averages() {
        assert_eq!(parse(b"0.15 0.10 12.08 2/513 12345\n"), Ok([0.15, 0.1, 12.08]));
        assert!(parse(b"0.15 0.10\n").is_err());
        assert!(parse(b"0.15 nan 0.2 1/2 3\n").is_err());
        assert!(parse(b"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in any::<Vec<u8>>()) {
            let _ = parse(&bytes);
        }
    }
}
