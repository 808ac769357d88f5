//! Tables and pages for people.

mod chart;
pub mod page;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// A table. Columns of numbers are aligned at the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head.to_vec());
    for row in rows {
        table.add_row(row.clone());
    }
    let number = |row: &Vec<String>, at: usize| row.get(at).is_none_or(|cell| cell.is_empty() || is_number(cell));
    for (at, column) in table.column_iter_mut().enumerate() {
        if rows.iter().all(|row| number(row, at)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Whether a cell begins as a number does; a unit may follow.
fn is_number(cell: &str) -> bool {
    cell.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

/// Bytes with a decimal unit: 1.25 MB.
pub fn bytes(count: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.iter().find(|(unit, _)| count as f64 >= *unit) {
        Some((unit, name)) => format!("{:.2} {name}", count as f64 / unit),
        None => format!("{count} B"),
    }
}

/// Seconds with a unit that fits: 1.25 s, 3.1 ms.
pub fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.2} s"),
        v if v >= 1e-3 => format!("{:.2} ms", v * 1e3),
        v => format!("{:.1} µs", v * 1e6),
    }
}

/// A whole number with thin groups of three: 15 220.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_250_000), "1.25 MB");
        assert_eq!(seconds(0.0031), "3.10 ms");
        assert_eq!(seconds(12.5), "12.50 s");
    }

    #[test]
    fn numbers_end_and_words_begin_in_one_column() {
        let text = table(&["n", "word"], &[vec!["1".into(), "a".into()], vec!["-20 B".into(), "abc".into()]]);
        let row = |at: usize| text.lines().nth(at).unwrap().trim_matches('│').to_string();
        assert_eq!((row(3).trim_end(), row(4).trim_end()), ("     1   a", " -20 B   abc"), "{text}");
    }

    #[test]
    fn tables_hold_every_cell() {
        let text = table(&["gate", "bytes"], &[vec!["relu".into(), "12".into()]]);
        assert!(text.contains("relu") && text.contains("12") && text.contains("gate"));
    }
}
