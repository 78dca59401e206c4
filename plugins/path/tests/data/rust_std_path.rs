// Answers of Rust's std::path for every path of a small alphabet, one JSON array a line, the
// first element saying what was asked. test_std_path.py reads them.
// Build and run: rustc -O rust_std_path.rs && ./rust_std_path > rust_std_path.jsonl
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const ALPHABET: [char; 3] = ['a', '.', '/'];
const NAMES: [&str; 18] = [
    "a.b", "a.tar.gz", ".a", ".a.b", "a.", "a..", "..a", "...", "a..b", "..b", "a.b/", "a.b/.",
    "a.bc///", "/a.b/", "x/a.b/..", "/x.y/a", "./a.b", "a/b.c//./",
];
const EXTENSIONS: [&str; 4] = ["", "c", ".", "c.d"];
const STEPS: [&str; 4] = ["FFFFF", "BBBBB", "FBFBF", "BFBFB"];
const BYTES: [&[u8]; 5] = [b"/", b"a", b"\xc3", b"\xa9", b"\xff"];

fn texts(longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for _ in 0..longest {
        let end = all.len();
        for index in start..end {
            for letter in ALPHABET {
                all.push(format!("{}{}", all[index], letter));
            }
        }
        start = end;
    }
    all
}

fn optional(text: Option<&OsStr>) -> String {
    text.map_or("null".to_string(), |text| format!("{text:?}"))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn component(component: Component) -> String {
    let kind = match component {
        Component::Prefix(_) => "PREFIX",
        Component::RootDir => "ROOT_DIR",
        Component::CurDir => "CUR_DIR",
        Component::ParentDir => "PARENT_DIR",
        Component::Normal(_) => "NORMAL",
    };
    format!("[{kind:?}, {:?}]", component.as_os_str())
}

fn parts(text: &str) {
    let path = Path::new(text);
    let mut popped = path.to_path_buf();
    let pops = popped.pop();
    println!(
        "[\"parts\", {text:?}, {}, {}, {}, {}, {}, {}, {}, [{}, {}, {}], {}, [{pops}, {popped:?}]]",
        list(path.components().map(component)),
        list(path.iter().map(|name| format!("{name:?}"))),
        optional(path.parent().map(Path::as_os_str)),
        optional(path.file_name()),
        optional(path.file_stem()),
        optional(path.file_prefix()),
        optional(path.extension()),
        path.is_absolute(),
        path.is_relative(),
        path.has_root(),
        list(path.ancestors().map(|one| format!("{one:?}"))),
    );
}

fn steps(text: &str, ends: &str) {
    let mut components = Path::new(text).components();
    let answers = list(ends.chars().map(|end| {
        let next = if end == 'F' { components.next() } else { components.next_back() };
        let name = optional(next.as_ref().map(|one| one.as_os_str()));
        format!("[{name}, {:?}]", components.as_path())
    }));
    println!("[\"steps\", {text:?}, {ends:?}, {answers}]");
}

fn pair(first: &str, second: &str) {
    let (one, other) = (Path::new(first), Path::new(second));
    let mut renamed = PathBuf::from(first);
    renamed.set_file_name(second);
    println!(
        "[\"pair\", {first:?}, {second:?}, {:?}, {}, {}, {}, {}, {}, {:?}, {renamed:?}]",
        one.join(other),
        one == other,
        one.cmp(other) as i8,
        one.starts_with(other),
        one.ends_with(other),
        optional(one.strip_prefix(other).ok().map(Path::as_os_str)),
        one.with_file_name(second),
    );
}

fn extension(text: &str, extension: &str) {
    let path = Path::new(text);
    let (mut set, mut added) = (path.to_path_buf(), path.to_path_buf());
    let (is_set, is_added) = (set.set_extension(extension), added.add_extension(extension));
    println!(
        "[\"extension\", {text:?}, {extension:?}, {:?}, {:?}, [{is_set}, {set:?}], [{is_added}, {added:?}]]",
        path.with_extension(extension),
        path.with_added_extension(extension),
    );
}

fn lossy(bytes: &[u8]) {
    let name = OsString::from(OsStr::from_bytes(bytes));
    let path = Path::new(&name);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    println!(
        "[\"lossy\", \"{hex}\", {}, \"{}\"]",
        path.to_str().map_or("null".to_string(), |text| format!("\"{text}\"")),
        path.to_string_lossy(),
    );
}

fn main() {
    let named = || NAMES.iter().map(|name| name.to_string());
    for text in texts(4).into_iter().chain(named()) {
        parts(&text);
        for ends in STEPS {
            if text.len() < 4 || text.contains('a') {
                steps(&text, ends);
            }
        }
    }
    for first in texts(3).into_iter().chain(["a/a/a".to_string(), "/a/a".to_string()]) {
        for second in texts(2).into_iter().chain(["a/a".to_string(), "/a/a".to_string()]) {
            pair(&first, &second);
        }
    }
    for text in texts(3).into_iter().chain(named()) {
        for one in EXTENSIONS {
            extension(&text, one);
        }
    }
    for first in BYTES {
        for second in BYTES {
            for third in BYTES {
                lossy(&[first, second, third].concat());
            }
        }
    }
}
