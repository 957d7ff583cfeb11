//! For a terminal.

use super::survey::{Row, Space, Survey};
use super::text::{self, addresses, details, safe, state, width};

/// The characters that lines are drawn with.
struct Pen {
    utf8: bool,
    wire: &'static str,
    port: &'static str,
    last: &'static str,
    past: &'static str,
}

const UTF8: Pen = Pen { utf8: true, wire: "─", port: "├ ", last: "└ ", past: "│ " };
const ASCII: Pen = Pen { utf8: false, wire: "--", port: "|- ", last: "`- ", past: "|  " };

/// A namespace a paragraph, a link a line: its name, whether it is up, its
/// addresses, what it is wired to and the addresses of that.
pub fn render(survey: &Survey, utf8: bool) -> String {
    let pen = if utf8 { UTF8 } else { ASCII };
    let spaces: Vec<String> = survey.shown().map(|space| of_space(survey, space, &pen)).collect();
    spaces.join("\n")
}

fn of_space(survey: &Survey, space: &Space, pen: &Pen) -> String {
    let mut lines = safe(&space.label, pen.utf8);
    let held_by = space.held_by(pen.utf8);
    if !held_by.is_empty() {
        lines += &format!(" ({held_by})");
    }
    lines.push('\n');
    if let Some(why) = &space.closed {
        lines += &format!("  ({})\n", safe(why.as_ref(), pen.utf8));
    }
    let names = names(space, pen);
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let states = space.rows.iter().map(|row| state(&row.link).len()).max().unwrap_or(0);
    for (row, name) in space.rows.iter().zip(&names) {
        let fill = " ".repeat(widest - width(name));
        let line = format!("  {name}{fill}  {:states$}  {}", state(&row.link), rest(survey, space, row, pen));
        lines += line.trim_end();
        lines.push('\n');
    }
    if space.left_out > 0 {
        lines += &format!("  ({} more links)\n", space.left_out);
    }
    lines
}

/// The names of its links, with the lines that lead to them from what they are ports of.
fn names(space: &Space, pen: &Pen) -> Vec<String> {
    let mut lasts: Vec<bool> = Vec::new();
    let name = |row: &Row| {
        lasts.truncate(row.depth);
        lasts.push(row.last);
        let mut text = String::new();
        for (depth, last) in lasts.iter().enumerate().skip(1) {
            text += match (depth == row.depth, last) {
                (true, false) => pen.port,
                (true, true) => pen.last,
                (false, false) => pen.past,
                (false, true) => "   ".get(..width(pen.past)).unwrap_or_default(),
            };
        }
        text + &safe(&row.link.name, pen.utf8)
    };
    space.rows.iter().map(name).collect()
}

fn rest(survey: &Survey, space: &Space, row: &Row, pen: &Pen) -> String {
    let mut words = addresses(&row.link);
    if let Some((far, addresses)) = text::far(survey, space, row, pen.utf8) {
        words.push(if row.is_paired() { pen.wire } else { "on" }.to_owned());
        words.push(far);
        // Of what it sits on they are another's.
        words.extend(addresses.into_iter().filter(|_| row.is_paired()));
    }
    let details = details(row);
    if !details.is_empty() {
        words.push(format!("({})", details.join(", ")));
    }
    words.join(" ")
}
