// truth in Rust: "truth-rs [ROUNDS [SEED [THREADS]]] [wait]" makes calls and prints each for itself; see truth.h.
// mix, fact and spin have mangled names, small and name have not.
use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::io::Read;
use std::os::raw::c_char;
use std::time::{Duration, Instant};

const WORDS: [&[u8]; 7] = [b"alpha\0", b"beta\0", b"gamma delta\0", b"\0", b"\xce\xa9mega\0", b"q\"uote\0", b"eta\0"];

thread_local! {
    static INNER: Cell<u64> = Cell::new(0); // of the call that ended last
    static LINES: RefCell<Vec<String>> = RefCell::new(Vec::new());
}

extern "C" {
    fn gettid() -> i32;
}

fn ns(d: Duration) -> u64 {
    d.as_nanos() as u64
}

#[inline(never)]
fn mix(a: u64, b: i64, c: i32, text: *const u8, e: u64, f: *const u64) -> u64 {
    let r = a.wrapping_mul(3).wrapping_add(b as u64);
    match c & 7 {
        0 => r & !0xffff,
        1 => (r & 0xffff) | 0x8000,
        2 => (r >> 33).wrapping_neg(),
        3 => e,
        _ => (r ^ e).wrapping_add(unsafe { *text } as u64).wrapping_add(!f.is_null() as u64),
    }
}

#[inline(never)]
#[no_mangle]
extern "C" fn small(a: i32, b: i16) -> i32 {
    a % 1000 - b as i32
}

#[inline(never)]
#[no_mangle]
extern "C" fn name(i: usize) -> *const u8 {
    WORDS[(i * 3 + 1) % 7].as_ptr()
}

#[inline(never)]
fn fact(n: u64) -> u64 {
    let began = Instant::now();
    let r = if n < 2 { 1 } else { n * again(n - 1) };
    INNER.with(|i| i.set(ns(began.elapsed())));
    r
}

// again calls fact, which calls itself through again, and notes it.
fn again(n: u64) -> u64 {
    let began = Instant::now();
    let r = std::hint::black_box(fact as fn(u64) -> u64)(n);
    note("fact", began, r, &[n], std::ptr::null(), std::ptr::null());
    r
}

#[inline(never)]
fn spin(time: u64) -> u64 {
    let began = Instant::now();
    loop {
        let d = ns(began.elapsed());
        if d >= time {
            INNER.with(|i| i.set(d));
            return d;
        }
    }
}

fn text(p: *const u8) -> String {
    if p.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(p as *const c_char) }.to_str().unwrap().to_string()
}

fn note(function: &str, began: Instant, ret: u64, args: &[u64], said: *const u8, result: *const u8) {
    let outer = ns(began.elapsed());
    let mut line = format!("call {} {:x} {:x} {:x} {:x}", function, unsafe { gettid() }, INNER.with(|i| i.replace(0)), outer, ret);
    for i in 0..6 {
        line += &format!(" {:x}", args.get(i).unwrap_or(&0));
    }
    LINES.with(|l| l.borrow_mut().push(format!("{}|{}|{}", line, text(said), text(result))));
}

fn next(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}

fn round(i: usize, s: &mut u64) {
    let none = std::ptr::null();
    let (a, e) = (next(s), (1u64 << (i * 7 % 64)) - (i & 1) as u64);
    let b = next(s) as i64 >> (i % 60);
    let c = next(s) as i32;
    let (said, f) = (WORDS[i % 7].as_ptr(), if i % 3 == 0 { std::ptr::null() } else { s as *const u64 });
    let mut t = Instant::now();
    let r = mix(a, b, c, said, e, f);
    note("mix", t, r, &[a, b as u64, c as i64 as u64, said as u64, e, f as u64], said, none);
    t = Instant::now();
    let r = small(c, b as i16) as i64;
    note("small", t, r as u64, &[c as i64 as u64, b as i16 as i64 as u64], none, none);
    t = Instant::now();
    let named = name(i);
    note("name", t, named as u64, &[i as u64], none, named);
    again(1 + i as u64 % 5);
    t = Instant::now();
    let took = spin(500 << (i % 6));
    note("spin", t, took, &[500 << (i % 6)], none, none);
}

fn work(k: u64, rounds: usize, seed: u64) -> Vec<String> {
    let mut s = seed.wrapping_add(k.wrapping_mul(0x9e3779b97f4a7c15));
    for i in 0..rounds {
        round(i, &mut s);
    }
    LINES.with(|l| l.take())
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    println!("pid {}", std::process::id());
    if args.last().map_or(false, |a| a == "wait") {
        args.pop();
        let _ = std::io::stdin().read(&mut [0]);
    }
    let arg = |i: usize, otherwise: u64| args.get(i).map_or(otherwise, |a| a.parse().unwrap());
    let (rounds, seed, threads) = (arg(0, 8) as usize, arg(1, 1) * 2 + 1, arg(2, 1));
    let all: Vec<_> = (1..threads).map(|k| std::thread::spawn(move || work(k, rounds, seed))).collect();
    let mut lines = work(0, rounds, seed);
    for t in all {
        lines.extend(t.join().unwrap());
    }
    println!("{}", lines.join("\n"));
}
