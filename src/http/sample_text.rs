//! The last sample as JSON, made once for each tick and style, on the first request.

use std::cell::RefCell;
use std::time::Instant;

use hyper::body::Bytes;

use super::budget::ResponseBudget;
use crate::sink::{Encoder, Style};
use crate::status::TickView;

/// The texts of the last tick that was asked for.
#[derive(Debug, Default)]
pub(super) struct SampleTexts {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The tick of the texts.
    published: Option<Instant>,
    line: Option<Bytes>,
    pretty: Option<Bytes>,
}

impl SampleTexts {
    /// The text of a tick; none when too much of earlier responses has not been read yet.
    pub(super) fn text(
        &self,
        tick: &TickView,
        style: Style,
        encoder: &RefCell<Encoder>,
        budget: &ResponseBudget,
    ) -> Option<Bytes> {
        let mut state = self.state.borrow_mut();
        if state.published != Some(tick.published) {
            *state = State { published: Some(tick.published), ..State::default() };
        }
        let known = match style {
            Style::Line => &mut state.line,
            Style::Pretty => &mut state.pretty,
        };
        if known.is_none() && budget.has_room() {
            let mut text = Vec::new();
            encoder.borrow_mut().encode(&tick.sample, style, &mut text);
            *known = Some(budget.hold(text));
        }
        known.clone()
    }

    /// Drops the texts: they were made by another configuration.
    pub(super) fn clear(&self) {
        self.state.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, test_module};

    #[test]
    fn samples_are_encoded_once_for_each_tick() {
        let (texts, encoder, budget) = (SampleTexts::default(), RefCell::default(), ResponseBudget::default());
        let tick = || {
            let modules = [test_module("one", |values| values.push("value", 1_u64))];
            TickView::with_sample(Sample { modules: modules.into(), ..Sample::default() })
        };
        let text = |tick: &TickView, style| texts.text(tick, style, &encoder, &budget).expect("room");
        let (first, second) = (tick(), tick());
        let (line, pretty) = (text(&first, Style::Line), text(&first, Style::Pretty));
        assert_eq!(
            (&*line, &*pretty),
            (&b"{\"one\":{\"value\":1}}\n"[..], &b"{\n  \"one\": {\n    \"value\": 1\n  }\n}\n"[..])
        );
        assert_eq!(text(&first, Style::Line).as_ptr(), line.as_ptr());
        assert_eq!(text(&first, Style::Pretty).as_ptr(), pretty.as_ptr());
        assert_ne!(text(&second, Style::Line).as_ptr(), line.as_ptr());
        texts.clear();
        assert_ne!(text(&first, Style::Pretty).as_ptr(), pretty.as_ptr());
    }
}
