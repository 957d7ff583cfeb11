//! For Graphviz.

use std::fmt::Write;

use super::survey::{Row, Space, Survey};
use super::text::{addresses, details, far, safe, state};

/// An undirected graph: a cluster a namespace, a node a link, an edge a wire.
pub fn render(survey: &Survey) -> String {
    let mut text = String::from(
        "graph netwire {\n  graph [rankdir=LR, fontname=\"sans-serif\"];\n  \
         node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=11];\n  \
         edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    for &at in &survey.shown {
        cluster(&mut text, survey, at);
    }
    for &at in &survey.shown {
        for row in survey.spaces[at].drawn() {
            edges(&mut text, survey, at, row);
        }
    }
    text + "}\n"
}

fn cluster(text: &mut String, survey: &Survey, at: usize) {
    let space = &survey.spaces[at];
    let title = [space.title(), space.held_by_shortly()].map(|line| escaped(&line)).join("\\n");
    // Writing to a String does not fail.
    let _ = writeln!(text, "  subgraph \"cluster_{}\" {{\n    label=\"{title}\";", space.inode);
    if let Some(why) = &space.closed {
        let why = escaped(&safe(why.as_ref(), true));
        let _ = writeln!(text, "    \"{}\" [shape=plaintext, label=\"{why}\"];", space.inode);
    }
    for row in space.drawn() {
        let mut lines = vec![safe(&row.link.name, true)];
        lines.extend(addresses(&row.link));
        lines.extend(details(row));
        // What has no edge is told.
        if survey.drawn_end(row).is_none() {
            lines.extend(far(survey, space, row, true).map(|(far, _)| format!("to {far}")));
        }
        let state = state(&row.link);
        let dashed = if state == "up" { "" } else { ", style=\"rounded,dashed\"" };
        lines.extend((state != "up").then(|| state.to_owned()));
        let label: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
        let _ = writeln!(text, "    {} [label=\"{}\"{dashed}];", node(space, row.link.index), label.join("\\n"));
    }
    let _ = writeln!(text, "  }}");
}

fn edges(text: &mut String, survey: &Survey, at: usize, row: &Row) {
    let space = &survey.spaces[at];
    let own = node(space, row.link.index);
    if let Some(master) = space.master_of(row) {
        let _ = writeln!(text, "  {} -- {own};", node(space, master.link.index));
    }
    let Some(end) = survey.drawn_end(row) else { return };
    // A pair is one edge, though both of its ends tell of it.
    if row.is_paired() && (end.space, end.index) < (at, row.link.index) {
        return;
    }
    let far = node(&survey.spaces[end.space], end.index);
    let kind = escaped(&safe(row.link.kind.as_ref(), true));
    let style = if row.is_paired() { "style=bold".to_owned() } else { format!("style=dashed, label=\"{kind}\"") };
    let _ = writeln!(text, "  {own} -- {far} [{style}];");
}

fn node(space: &Space, index: u32) -> String {
    format!("\"{}_{index}\"", space.inode)
}

/// In a string of DOT backslashes and HTML entities mean something.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        assert_eq!(escaped("a\"; }\\N &lt;"), "a\\\"; }\\\\N &amp;lt;");
    }
}
