//! A picture for people (SVG 1.1), which needs nothing else: the boxes are
//! opaque and the lines of a middle tone, so that any background will do.

use std::fmt::Write;

use super::frame::{Frame, INDENT, Line, MARK, PAD, ROW, TITLE, pixels, small_pixels};
use super::layout::{Picture, Wire, place};
use super::survey::Survey;
use super::text::end_shown;

const STYLE: &str = "text{font:12px 'DejaVu Sans Mono',Menlo,Consolas,'Liberation Mono',monospace;fill:#0f172a;\
    white-space:pre}\
    .title{font-weight:bold}.small{font-size:11px;fill:#64748b}\
    .box{fill:#fff;stroke:#94a3b8}.head{fill:#e2e8f0}.own{fill:#bfdbfe}\
    .wire{fill:none;stroke:#64748b;stroke-width:1.5}.on{stroke-dasharray:5 4}.dead{stroke:#dc2626}\
    .port{fill:none;stroke:#94a3b8}.end{fill:#64748b}\
    .up{fill:#16a34a}.idle{fill:#f59e0b}.down{fill:#fff;stroke:#dc2626;stroke-width:1.5}";

/// Namespaces as boxes, links as rows in them, wires from row to row.
pub fn render(survey: &Survey) -> String {
    let picture = place(survey);
    let Picture { width, height, .. } = picture;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<title>network namespaces and what is wired to what</title>\n<style>{STYLE}</style>\n"
    );
    for line in &picture.wires {
        wire(&mut text, survey, line);
    }
    for frame in &picture.boxes {
        framed(&mut text, frame, survey.spaces[frame.space].own);
    }
    text + "</svg>\n"
}

fn wire(text: &mut String, survey: &Survey, wire: &Wire) {
    let [(x1, y1), (x2, y2)] = wire.at;
    let (a, b) = match wire.bulge {
        // A curve gets three quarters as far as what it is drawn to.
        Some(bulge) => (x1 + bulge * 4 / 3, x2 + bulge * 4 / 3),
        None => (i32::midpoint(x1, x2), i32::midpoint(x1, x2)),
    };
    let path = if y1 == y2 { format!("M{x1} {y1}H{x2}") } else { format!("M{x1} {y1}C{a} {y1} {b} {y2} {x2} {y2}") };
    let class = [("", true), (" on", !wire.paired), (" dead", !wire.up)];
    let class: String = class.iter().filter(|(_, is)| *is).map(|(class, _)| *class).collect();
    // Writing to a String does not fail.
    let [a, b] = wire.ends.map(|end| escaped(&end_shown(survey, None, end, true)));
    let _ = writeln!(text, "<path class=\"wire{class}\" d=\"{path}\"><title>{a} ─ {b}</title></path>");
    for (x, y) in wire.at {
        let _ = writeln!(text, "<circle class=\"end\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>");
    }
}

fn framed(text: &mut String, frame: &Frame, own: bool) {
    let Frame { x, y, width, height, .. } = frame;
    let head = if own { "head own" } else { "head" };
    let _ = writeln!(
        text,
        "<g transform=\"translate({x} {y})\"><rect class=\"box\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\
         <path class=\"{head}\" d=\"M.5 {TITLE}V6a5.5 5.5 0 0 1 5.5-5.5H{}a5.5 5.5 0 0 1 5.5 5.5V{TITLE}z\"/>",
        width - 6
    );
    words(text, "title", PAD, 17, &frame.title);
    words(text, "small", width - PAD - small_pixels(&frame.holder), 17, &frame.holder);
    for line in &frame.lines {
        row(text, frame, line);
    }
    if let Some(note) = &frame.note {
        words(text, "small", PAD, height - ROW / 2, note);
    }
    let _ = writeln!(text, "</g>");
}

fn row(text: &mut String, frame: &Frame, line: &Line) {
    let (x, y) = (PAD + line.depth * INDENT, line.y);
    if let Some(master) = line.master.and_then(|master| frame.lines.iter().find(|line| line.index == master)) {
        let _ = writeln!(text, "<path class=\"port\" d=\"M{} {}V{y}H{x}\"/>", x - INDENT + 4, master.y + 5);
    }
    let (mark, radius) = match line.state {
        "up" => ("up", 4),
        "down" => ("down", 3),
        _ => ("idle", 4),
    };
    let _ = writeln!(text, "<circle class=\"{mark}\" cx=\"{}\" cy=\"{y}\" r=\"{radius}\"/>", x + 4);
    words(text, "", x + MARK, y + 4, &line.name);
    let x = PAD + frame.names + PAD;
    words(text, "", x, y + 4, &line.text);
    if let Some((from, to)) = line.leader {
        let _ = writeln!(text, "<path class=\"port\" d=\"M{from} {y}H{to}\"/>");
    }
    let gap = if line.text.is_empty() { 0 } else { PAD };
    words(text, "small", x + pixels(&line.text) + gap, y + 4, &line.details);
}

fn words(text: &mut String, class: &str, x: i32, y: i32, words: &str) {
    if !words.is_empty() {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let _ = writeln!(text, "<text{class} x=\"{x}\" y=\"{y}\">{}</text>", escaped(words));
    }
}

/// What means something in XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
