;; A WASI program: copies what is in the file "name" of the first directory it was given to standard
;; output, between "Hello, " and a newline; exits with 1 where there is no such file.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "name")
  (data (i32.const 128) "Hello, ")
  (func (export "_start")
    (if (call $open
          (i32.const 3) (i32.const 0)                   ;; the first directory, follow no link
          (i32.const 64) (i32.const 4)                  ;; the path and its length
          (i32.const 0) (i64.const 2) (i64.const 0)     ;; to read
          (i32.const 0) (i32.const 16))                 ;; the descriptor goes to 16
      (then (call $exit (i32.const 1))))
    (i32.store (i32.const 0) (i32.const 135))           ;; up to 64 bytes behind "Hello, "
    (i32.store (i32.const 4) (i32.const 64))
    (if (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 20))
      (then (call $exit (i32.const 2))))
    (i32.store8 (i32.add (i32.const 135) (i32.load (i32.const 20))) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 128))
    (i32.store (i32.const 4) (i32.add (i32.const 8) (i32.load (i32.const 20))))
    (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20))
      (then (call $exit (i32.const 3))))))
