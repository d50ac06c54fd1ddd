//! The fuzz target of pushed points: any body, by comparison with a parser of whole documents.

use std::time::Duration;

use serde_json::Value;

use super::inlet::{PushError, REQUEST_POINTS};
use super::modules::PushedModules;
use crate::sample::Sample;

/// Pushes a body and takes a tick.
pub(crate) fn push(bytes: &[u8]) {
    const NOW: Duration = Duration::from_secs(1_700_000_000);
    let mut modules = PushedModules::new(&std::sync::Arc::default(), true);
    let whole = serde_json::from_slice::<Vec<Value>>(bytes);
    match modules.inlet().push(bytes, Some("web-1"), NOW) {
        Err(PushError::Body(_)) => assert!(whole.is_err(), "an array is refused"),
        Err(PushError::TooMany(_)) => assert!(whole.map_or(true, |points| points.len() > REQUEST_POINTS)),
        Err(error) => panic!("{error:?}"),
        Ok(outcome) => {
            let count = outcome.accepted + outcome.rejected.len() + outcome.omitted;
            assert!(whole.map_or(true, |points| points.len() == count), "each point is judged");
            let mut sample = Sample { tick: NOW, ..Sample::default() };
            modules.collect();
            modules.deliver(&mut sample);
            let delivered: usize = sample.results().map(|module| module.len()).sum();
            assert!(delivered <= outcome.accepted && (delivered > 0) == (outcome.accepted > 0));
            let mut keys: Vec<String> = (sample
                .latest()
                .flat_map(|module| module.metrics().map(|metric| format!("{} {}", module.name(), metric.key()))))
            .collect();
            let count = keys.len();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), count, "no key twice");
        }
    }
}
