// Panics and catches in the ways that test_raising.py and test_kills.py ask for.
use std::panic::{self, AssertUnwindSafe};
static mut ORDER: [u64; 64] = [0; 64];
static mut COUNT: usize = 0;
fn note(n: u64) { unsafe { ORDER[COUNT] = n; COUNT += 1; } }
struct Drops(u64);
impl Drop for Drops { fn drop(&mut self) { note(self.0) } }
#[inline(never)]
fn inner(what: u64, call: extern "C-unwind" fn(u64)) -> u64 {
    let _d = Drops(1);
    match what {
        1 => panic!("boom {}", what),
        2 => panic::panic_any(7u64),
        3 => call(what),
        4 => unsafe { (0x10 as *mut u64).write_volatile(1) },
        _ => (),
    }
    what
}
#[inline(never)]
fn middle(what: u64, call: extern "C-unwind" fn(u64)) -> u64 { let _d = Drops(2); inner(what, call) + 1 }
fn caught(result: std::thread::Result<u64>) -> u64 {
    match result {
        Ok(n) => n,
        Err(e) => {
            if let Some(n) = e.downcast_ref::<u64>() { *n }
            else if let Some(s) = e.downcast_ref::<String>() { s.len() as u64 }
            else { 99 }
        }
    }
}
#[no_mangle]
pub extern "C" fn quiet() { panic::set_hook(Box::new(|_| note(100))); }
#[no_mangle]
pub extern "C-unwind" fn outer(what: u64, call: extern "C-unwind" fn(u64)) -> u64 {
    let _d = Drops(3);
    caught(panic::catch_unwind(AssertUnwindSafe(|| middle(what, call))))
}
#[no_mangle]
pub extern "C-unwind" fn uncaught(what: u64, call: extern "C-unwind" fn(u64)) -> u64 {
    let _d = Drops(4);
    middle(what, call)
}
#[no_mangle]
pub extern "C-unwind" fn resumes(what: u64, call: extern "C-unwind" fn(u64)) -> u64 {
    caught(panic::catch_unwind(AssertUnwindSafe(|| {
        let _d = Drops(5);
        match panic::catch_unwind(AssertUnwindSafe(|| middle(what, call))) {
            Ok(n) => n,
            Err(e) => { note(6); panic::resume_unwind(e) }
        }
    })))
}
#[no_mangle]
pub extern "C" fn order(i: usize) -> u64 { unsafe { if i == 64 { COUNT as u64 } else { ORDER[i] } } }
#[no_mangle]
pub extern "C" fn reset() { unsafe { COUNT = 0 } }
