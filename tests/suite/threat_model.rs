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
        let sought = if test.is_empty() { "#[tokio::test]".to_owned() } else { format!("fn {test}()") };
        let found = files.iter().any(|file| std::fs::read_to_string(file).expect("a file").contains(&sought));
        assert!(found, "{name} is nowhere in {files:?}");
    }
}
