//! Columns.
//!
//! Enters: rows of cells. Leaves: aligned lines. Refuses: nothing.

/// Rows, each column as wide as its widest cell but the last; indented.
pub(super) fn aligned(rows: &[Vec<String>], indent: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (cell, width) in row.iter().zip(&widths) {
            // Not by a format's width, which ends at 65,535: a cell may be what a specification says.
            let padding = width.saturating_sub(cell.chars().count());
            line.push_str(cell);
            line.push_str(&" ".repeat(padding + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Words with commas between them, on as many lines as it takes; indented.
pub(super) fn wrapped(words: &[String], indent: usize) -> String {
    const WIDTH: usize = 110;
    let mut text = String::new();
    let mut line = String::new();
    for (number, word) in words.iter().enumerate() {
        let word = if number + 1 < words.len() { format!("{word}, ") } else { word.clone() };
        if !line.is_empty() && indent + line.chars().count() + word.trim_end().chars().count() > WIDTH {
            text.push_str(&format!("{}{}\n", " ".repeat(indent), line.trim_end()));
            line.clear();
        }
        line.push_str(&word);
    }
    if !line.is_empty() {
        text.push_str(&format!("{}{}\n", " ".repeat(indent), line.trim_end()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{aligned, wrapped};

    #[test]
    fn long_lists_are_wrapped_after_a_comma() {
        assert_eq!(wrapped(&[], 2), "");
        assert_eq!(wrapped(&["a".to_owned(), "b".to_owned()], 2), "  a, b\n");
        let words = vec!["x".repeat(50); 3];
        let text = wrapped(&words, 4);
        assert_eq!(text.lines().map(str::len).collect::<Vec<_>>(), [107, 54]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["a".to_owned(), "é".to_owned()], vec!["long".to_owned(), "x".to_owned(), "y".to_owned()]];
        assert_eq!(aligned(&rows, 2), "  a     é\n  long  x  y\n");
    }
}
