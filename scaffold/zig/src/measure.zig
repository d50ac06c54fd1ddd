//! The parser and the rate. Independent of the agent, so that `zig test` runs them on this machine.

const std = @import("std");

/// The numbers in the file. A line that is not there is null.
pub const Numbers = struct {
    forks: ?u64 = null,
    running: ?u64 = null,
    blocked: ?u64 = null,
};

/// Parses the numbers in a text.
pub fn parse(text: []const u8) error{InvalidNumber}!Numbers {
    var numbers: Numbers = .{};
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        var words = std.mem.splitScalar(u8, line, ' ');
        const key = words.first();
        const number = if (std.mem.eql(u8, key, "processes"))
            &numbers.forks
        else if (std.mem.eql(u8, key, "procs_running"))
            &numbers.running
        else if (std.mem.eql(u8, key, "procs_blocked"))
            &numbers.blocked
        else
            continue;
        number.* = std.fmt.parseInt(u64, words.rest(), 10) catch return error.InvalidNumber;
    }
    return numbers;
}

/// The rate of a counter from one tick to the next.
pub const Rate = struct {
    last: ?struct { count: u64, ns: u64 } = null,

    /// The rate since the last call; null at the first one, and after the counter was reset.
    pub fn perSecond(self: *Rate, count: u64, monotonic_ns: u64) ?f64 {
        const before = self.last;
        self.last = .{ .count = count, .ns = monotonic_ns };
        const last = before orelse return null;
        if (count < last.count or monotonic_ns <= last.ns) return null;
        const seconds = @as(f64, @floatFromInt(monotonic_ns - last.ns)) / std.time.ns_per_s;
        return @as(f64, @floatFromInt(count - last.count)) / seconds;
    }
};

test "numbers are found among other lines" {
    const numbers = try parse("cpu 1 2 3\nctxt 9\nprocesses 1500\nprocs_running 3\nprocs_blocked 1\n");
    try std.testing.expectEqual(Numbers{ .forks = 1500, .running = 3, .blocked = 1 }, numbers);
}

test "missing numbers are left out" {
    try std.testing.expectEqual(Numbers{}, try parse("cpu 1 2 3\n\nprocs_running_or_not 1\n"));
}

test "a value that is not a number fails" {
    try std.testing.expectError(error.InvalidNumber, parse("processes many\n"));
    try std.testing.expectError(error.InvalidNumber, parse("processes 18446744073709551616\n"));
}

test "the rate needs two ticks and survives a reset" {
    var rate: Rate = .{};
    try std.testing.expectEqual(null, rate.perSecond(100, 1_000_000_000));
    try std.testing.expectEqual(5.0, rate.perSecond(110, 3_000_000_000).?);
    try std.testing.expectEqual(null, rate.perSecond(7, 4_000_000_000));
    try std.testing.expectEqual(1.0, rate.perSecond(8, 5_000_000_000).?);
}
