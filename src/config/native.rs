//! The tables `[cpu]`, `[load]`, `[memory]` and `[host]` of the native collectors.

/// The table `[cpu]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuConfig {
    /// Whether the module `cpu` is collected.
    pub enabled: bool,
    /// Whether the module has metrics of each CPU besides the total.
    pub per_core: bool,
}

impl Default for CpuConfig {
    fn default() -> Self {
        Self { enabled: true, per_core: false }
    }
}

/// The table of a collector without settings of its own: `[load]`, `[memory]` or `[host]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeConfig {
    /// Whether the collector's modules are collected.
    pub enabled: bool,
}

impl Default for NativeConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}
