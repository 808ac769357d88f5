//! docs/operators.md is what the code says.

use std::fmt::Write as _;
use std::path::Path;

use ariann_graph::supported_operators;

fn table() -> String {
    let mut text = String::from(
        "# Supported operators\n\n\
         Made from the importer's own table: `ARIANN_WRITE_DOCS=1 cargo test -p ariann-graph --test documentation`\n\
         writes this file, and the same test fails when it is stale. A model with other operators is refused with a\n\
         list of all of them; operator sets 7 to 28 of ONNX are read.\n\n\
         | operator | attributes | what becomes of it |\n|---|---|---|\n",
    );
    for row in supported_operators() {
        let attributes: Vec<_> = row.attributes.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "| {} | {} | {} |", row.name, attributes.join(", "), row.notes);
    }
    text
}

#[test]
fn the_table_of_operators_is_that_of_the_code() {
    let (first, last) = ariann_graph::import::OPSETS;
    let text = table();
    assert!(text.contains(&format!("operator sets {first} to {last}")));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operators.md");
    if std::env::var_os("ARIANN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("docs can be written");
    }
    let written = std::fs::read_to_string(&path).expect("docs/operators.md is in the repository");
    assert_eq!(written, text, "docs/operators.md is stale; see its head");
}
