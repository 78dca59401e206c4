// Answers of Rust's std::path for every path of a small alphabet, one JSON array a line:
//   [text, components, parent, file name, is absolute]   for paths of up to 5 characters
//   [first, second, first joined with second, equal]     for pairs of up to 2 characters
// Build and run: rustc -O rust_std_path.rs && ./rust_std_path > rust_std_path.jsonl
use std::path::{Component, Path};

const ALPHABET: [char; 3] = ['a', '.', '/'];

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

fn optional(text: Option<&str>) -> String {
    text.map_or("null".to_string(), |text| format!("{text:?}"))
}

fn main() {
    for text in texts(5) {
        let path = Path::new(&text);
        let components: Vec<String> = path
            .components()
            .map(|component| match component {
                Component::RootDir => "\"/\"".to_string(),
                other => format!("{:?}", other.as_os_str().to_str().unwrap()),
            })
            .collect();
        println!(
            "[{:?}, [{}], {}, {}, {}]",
            text,
            components.join(", "),
            optional(path.parent().map(|parent| parent.to_str().unwrap())),
            optional(path.file_name().map(|name| name.to_str().unwrap())),
            path.is_absolute()
        );
    }
    for first in texts(2) {
        for second in texts(2) {
            let joined = Path::new(&first).join(&second);
            let equal = Path::new(&first) == Path::new(&second);
            println!("[{first:?}, {second:?}, {:?}, {equal}]", joined.to_str().unwrap());
        }
    }
}
