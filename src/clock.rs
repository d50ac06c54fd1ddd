//! The clock: the schedule of the ticks, and the timer that wakes the agent.

pub mod schedule;
pub(crate) mod source;
pub(crate) mod ticker;
pub(crate) mod sleep;
pub(crate) mod wall_timer;
