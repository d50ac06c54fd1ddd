;; WASI preview 1, inert: there are no arguments, variables, files, directories and sockets. The clock and the random numbers are
;; real, and standard output and error are lines of the plugin's log, by the stubs of WASI 0.2. Wrapped around core modules that
;; import preview 1.
;;
;; Unlike the adapter of Wasmtime it allocates nothing in the guest: the runtime of Go is not up when its first function is
;; called. Results of the host go to the guest's memory from 0 on, which is put back afterwards.
;;
;; During a closed call the host may not be called: clocks stand still, random numbers are made here, and what is printed is lost.
(module
  (import "__main_module__" "gauged-closed" (global $closed (mut i32)))
  (import "env" "memory" (memory 0))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
  (import "wasi:cli/stderr@0.2.0" "get-stderr" (func $stderr (result i32)))
  (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush" (func $write (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.0" "[resource-drop]output-stream" (func $close (param i32)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $monotonic (result i64)))
  (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))

  ;; The last times, and the last random number.
  (global $last_monotonic (mut i64) (i64.const 1))
  (global $last_wall (mut i64) (i64.const 1))
  (global $last_random (mut i64) (i64.const 0x9E3779B97F4A7C15))

  ;; There are none.
  (func $none (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $get (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $get))
  (export "environ_get" (func $get))

  ;; In nanoseconds.
  (func (export "clock_res_get") (param $clock i32) (param $at i32) (result i32)
    (i64.store (local.get $at) (i64.const 1))
    (i32.const 0))
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $at i32) (result i32)
    (if (i32.eqz (global.get $closed)) (then (call $read_clock (local.get $clock))))
    (i64.store (local.get $at)
      (select (global.get $last_monotonic) (global.get $last_wall) (local.get $clock)))
    (i32.const 0))
  (func $read_clock (param $clock i32)
    (local $first i64) (local $second i64)
    (if (local.get $clock)
      (then (global.set $last_monotonic (call $monotonic)))
      (else
        (local.set $first (i64.load (i32.const 0)))
        (local.set $second (i64.load (i32.const 8)))
        (call $wall (i32.const 0))
        (global.set $last_wall
          (i64.add (i64.mul (i64.load (i32.const 0)) (i64.const 1000000000)) (i64.load32_u (i32.const 8))))
        (i64.store (i32.const 0) (local.get $first))
        (i64.store (i32.const 8) (local.get $second)))))
  ;; Eight bytes of each number, and of the last one as many as are left.
  (func (export "random_get") (param $at i32) (param $length i32) (result i32)
    (local $number i64)
    (block $last
      (loop $next
        (br_if $last (i32.lt_u (local.get $length) (i32.const 8)))
        (i64.store (local.get $at) (call $next_random))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (local.set $length (i32.sub (local.get $length) (i32.const 8)))
        (br $next)))
    (if (local.get $length) (then (local.set $number (call $next_random))))
    (block $done
      (loop $byte
        (br_if $done (i32.eqz (local.get $length)))
        (i64.store8 (local.get $at) (local.get $number))
        (local.set $number (i64.shr_u (local.get $number) (i64.const 8)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $byte)))
    (i32.const 0))

  (func $next_random (result i64)
    (if (result i64) (global.get $closed)
      (then (i64.or (call $next_congruent) (i64.shl (call $next_congruent) (i64.const 32))))
      (else
        (global.set $last_random (call $random))
        (global.get $last_random))))
  ;; A linear congruential generator: 32 bits, the upper ones, which are better.
  (func $next_congruent (result i64)
    (global.set $last_random
      (i64.add (i64.mul (global.get $last_random) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
    (i64.shr_u (global.get $last_random) (i64.const 32)))

  ;; Writes to the streams 1 and 2. Others are no files: 8, badf.
  (func (export "fd_write") (param $fd i32) (param $pieces i32) (param $count i32) (param $written i32) (result i32)
    (local $stream i32) (local $total i32)
    (if (i32.or (i32.lt_u (local.get $fd) (i32.const 1)) (i32.gt_u (local.get $fd) (i32.const 2)))
      (then (return (i32.const 8))))
    (if (i32.eqz (global.get $closed))
      (then
        (local.set $stream
          (if (result i32) (i32.eq (local.get $fd) (i32.const 1)) (then (call $stdout)) (else (call $stderr))))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (if (i32.eqz (global.get $closed))
          (then
            (call $write_piece (local.get $stream) (i32.load (local.get $pieces))
              (i32.load offset=4 (local.get $pieces)))))
        (local.set $total (i32.add (local.get $total) (i32.load offset=4 (local.get $pieces))))
        (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (if (i32.eqz (global.get $closed)) (then (call $close (local.get $stream))))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))
  ;; A stream takes 4096 bytes at a time.
  (func $write_piece (param $stream i32) (param $at i32) (param $length i32)
    (local $part i32) (local $first i64) (local $second i64)
    (local.set $first (i64.load (i32.const 0)))
    (local.set $second (i64.load (i32.const 8)))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $part
          (select (local.get $length) (i32.const 4096) (i32.lt_u (local.get $length) (i32.const 4096))))
        (call $write (local.get $stream) (local.get $at) (local.get $part) (i32.const 0))
        (i64.store (i32.const 0) (local.get $first))
        (i64.store (i32.const 8) (local.get $second))
        (local.set $at (i32.add (local.get $at) (local.get $part)))
        (local.set $length (i32.sub (local.get $length) (local.get $part)))
        (br $next))))
  ;; Standard input is at its end.
  (func (export "fd_read") (param $fd i32) (param $pieces i32) (param $count i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))
  ;; The streams are character devices, without flags and rights.
  (func (export "fd_fdstat_get") (param $fd i32) (param $at i32) (result i32)
    (if (i32.gt_u (local.get $fd) (i32.const 2)) (then (return (i32.const 8))))
    (i64.store (local.get $at) (i64.const 2))
    (i64.store offset=8 (local.get $at) (i64.const 0))
    (i64.store offset=16 (local.get $at) (i64.const 0))
    (i32.const 0))

  ;; All events come at once: nobody may sleep in a call.
  (func (export "poll_oneoff") (param $in i32) (param $out i32) (param $count i32) (param $events i32) (result i32)
    (i32.store (local.get $events) (local.get $count))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (i64.store (local.get $out) (i64.load (local.get $in)))
        (i64.store offset=8 (local.get $out) (i64.const 0))
        (i32.store8 offset=10 (local.get $out) (i32.load8_u offset=8 (local.get $in)))
        (i64.store offset=16 (local.get $out) (i64.const 0))
        (i64.store offset=24 (local.get $out) (i64.const 0))
        (local.set $in (i32.add (local.get $in) (i32.const 48)))
        (local.set $out (i32.add (local.get $out) (i32.const 32)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const 0))
  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "fd_close") (param i32) (result i32) (i32.const 0))
  (func (export "proc_exit") (param $code i32)
    (if (i32.eqz (global.get $closed)) (then (call $exit (i32.ne (local.get $code) (i32.const 0)))))
    unreachable)

  ;; No such file: badf.
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_tell") (param i32 i32) (result i32) (i32.const 8))

  ;; Not there: nosys.
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 52))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 52))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 52))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 52)))
