//! Time: when the next tick is due, and the timer that wakes the agent then.

pub mod schedule;
pub mod wall_timer;
