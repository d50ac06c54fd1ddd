//! Texts in columns.

/// Rows, indented, each cell but a row's last as wide as the widest of its column. What a terminal would obey is replaced:
/// names of files may have anything in them.
pub(super) fn columns(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let plain = |cell: String| cell.replace(char::is_control, "\u{fffd}");
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect();
    let mut widths = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let gap = width - cell.chars().count() + 2;
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', gap));
        }
        text.push_str("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_below_each_other() {
        let rows = [["a", "bb", "c"], ["grün", "", "cc"], ["a", "", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(rows), "  a     bb  c\n  grün      cc\n  a\n");
        assert_eq!(columns([]), "");
        assert_eq!(columns([vec!["a\u{1b}[31m\n".to_owned()]]), "  a\u{fffd}[31m\u{fffd}\n");
    }
}
