//! Points that a sink has lost, by a closed set of reasons.

/// Why points are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sink) enum Loss {
    /// The receiver has refused them for good.
    Rejected,
    /// The receiver has failed at their request again and again, and took others.
    GivenUp,
    /// The spool was larger than its bound, or the disk full.
    SpoolFull,
    /// They were in the spool for longer than its bound.
    Expired,
    /// The spool was damaged.
    Damaged,
    /// There was no spool for them, and too many waited in memory.
    QueueFull,
    /// The sink has ended before they were delivered, and they could not be written to the disk.
    Ended,
}

impl Loss {
    /// All of them, in the order of the numbers that they are.
    pub(in crate::sink) const ALL: [Self; 7] =
        [Self::Rejected, Self::GivenUp, Self::SpoolFull, Self::Expired, Self::Damaged, Self::QueueFull, Self::Ended];

    /// The value of the label `reason`.
    pub(in crate::sink) fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::GivenUp => "given_up",
            Self::SpoolFull => "spool_full",
            Self::Expired => "expired",
            Self::Damaged => "damaged",
            Self::QueueFull => "queue_full",
            Self::Ended => "ended",
        }
    }
}
