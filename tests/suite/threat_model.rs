//! docs/threat-model.md names the tests that attack its promises: they are there.

use std::path::{Path, PathBuf};

/// What stands between backticks in the document and names tests: `module::`, or a module and a test.
fn named() -> Vec<&'static str> {
    let text = include_str!("../../docs/threat-model.md");
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter(|span| span.contains("::") && !span.contains(['(', ' ', '"'])).collect()
}

/// The files of a module and of those in it.
fn files(root: &Path, module: &str) -> Vec<PathBuf> {
    let path = root.join(module);
    let mut files = vec![path.with_extension("rs")];
    if let Ok(entries) = std::fs::read_dir(&path) {
        files.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    files.into_iter().filter(|file| file.is_file()).collect()
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = named();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let (root, name) = match name.strip_prefix("attack:") {
            Some(name) => (here.join("../crates/sql/tests/attack"), name),
            None => (here.join("suite"), name),
        };
        let (module, test) = name.rsplit_once("::").expect("two colons");
        let files = files(&root, &module.replace("::", "/"));
        let is_there = |file: &PathBuf| has_test(&std::fs::read_to_string(file).expect("a file"), test);
        assert!(files.iter().any(is_there), "{name} is nowhere in {files:?}");
    }
}

/// Whether a file has this test, or any, and leaves none out.
fn has_test(text: &str, test: &str) -> bool {
    let functions: Vec<_> = text.split("fn ").collect();
    let is_test = |before: &str| before.rsplit("\n\n").next().is_some_and(|attributes| attributes.contains("::test]"));
    let is_it = |behind: &str| test.is_empty() || behind.starts_with(&format!("{test}()"));
    functions.windows(2).any(|pair| is_test(pair[0]) && is_it(pair[1])) && !text.contains("#[ignore")
}
