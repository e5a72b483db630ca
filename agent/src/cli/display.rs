//! The refreshing table, and the report at the end.
//!
//! Enters: tables. Leaves: text on stdout, the report on stderr. Refuses: to fail a session because nobody reads.

use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use super::session::Outcome;
use crate::table::Table;

/// Width assumed where stdout is no terminal.
const PLAIN_WIDTH: usize = 120;
/// Cursor home and clear to the end of the screen, line by line, so that nothing flickers.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows one table: in place on a terminal, else as a block of its own.
pub(super) fn show(table: &Table) {
    let mut out = std::io::stdout().lock();
    let text = if out.is_terminal() {
        let (width, height) = terminal_size();
        let text = table.render(width);
        let lines = text.lines().take(height.saturating_sub(1));
        let body: String = lines.map(|line| format!("{}{CLEAR_LINE}\n", cut(line, width))).collect();
        format!("{HOME}{body}{CLEAR_BELOW}")
    } else {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        format!("--- {now}\n{}", table.render(PLAIN_WIDTH))
    };
    // A reader that went away is no reason to stop measuring.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints the final values.
pub(super) fn report(outcome: &Outcome) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "\n{}", outcome.table().render(PLAIN_WIDTH));
    if let Some(path) = &outcome.log_path {
        let _ = writeln!(err, "JSON log        {path}");
    }
    if let Some(address) = outcome.metrics_address {
        let _ = writeln!(err, "metrics were at http://{address}/metrics");
    }
}

fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
}

/// Columns and rows of the terminal.
fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((PLAIN_WIDTH, 50), |size| (size.ws_col.into(), size.ws_row.into()))
}
