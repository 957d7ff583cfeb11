//! The boxes of a picture, in pixels: what stands in them and how big they are.

use super::survey::{Row, Space, Survey};
use super::text::{addresses, details, far, safe, state, width};

/// Inside a box, left and right.
pub const PAD: i32 = 12;
/// The height of a title.
pub const TITLE: i32 = 26;
/// From row to row.
pub const ROW: i32 = 20;
/// How far a port is indented.
pub const INDENT: i32 = 16;
/// For the mark before a name.
pub const MARK: i32 = 14;
/// Above the first row and below the last.
const INSET: i32 = 6;
/// A namespace.
#[derive(Debug, Default)]
pub struct Frame {
    /// Which of the survey's.
    pub space: usize,
    /// The left edge.
    pub x: i32,
    /// The upper edge.
    pub y: i32,
    /// How wide.
    pub width: i32,
    /// How high.
    pub height: i32,
    /// Its label.
    pub title: String,
    /// Who holds it.
    pub holder: String,
    /// Its links.
    pub lines: Vec<Line>,
    /// What is said below them.
    pub note: Option<String>,
    /// How wide the names are, with what stands before them.
    pub names: i32,
}

/// A link.
#[derive(Debug, Default)]
pub struct Line {
    /// Its number.
    pub index: u32,
    /// What it is a port of.
    pub master: Option<u32>,
    /// The middle, from the upper edge of the box.
    pub y: i32,
    /// Under how many others it stands.
    pub depth: i32,
    /// Its name.
    pub name: String,
    /// Its addresses, and what it is wired to if no line leads there.
    pub text: String,
    /// What else is of note.
    pub details: String,
    /// From where to where a line leads to the right edge, for the wire there.
    pub leader: Option<(i32, i32)>,
    /// Whether it is up.
    pub state: &'static str,
}

/// How wide a text is in the type that pictures are set in.
pub fn pixels(text: &str) -> i32 {
    (width(text) as i32 * 29 + 3) / 4
}

/// Likewise in the small one.
pub fn small_pixels(text: &str) -> i32 {
    (width(text) as i32 * 27 + 3) / 4
}

impl Line {
    /// How far its words reach where names take as much as `names`.
    pub fn extent(&self, names: i32) -> i32 {
        let text = if self.text.is_empty() { 0 } else { PAD + pixels(&self.text) };
        let details = if self.details.is_empty() { 0 } else { PAD + small_pixels(&self.details) };
        if text + details > 0 { names + text + details } else { self.depth * INDENT + MARK + pixels(&self.name) }
    }
}

impl Frame {
    /// A box with what stands in it, not placed yet.
    pub fn of(survey: &Survey, at: usize) -> Self {
        let space = &survey.spaces[at];
        let mut frame = Frame { space: at, title: space.title(), holder: space.held_by_shortly(), ..Frame::default() };
        frame.lines = space.drawn().map(|row| line(survey, space, row)).collect();
        let mut y = TITLE + INSET;
        for line in &mut frame.lines {
            line.y = y + ROW / 2;
            y += ROW;
        }
        let left_out = (space.left_out > 0).then(|| format!("{} more links", space.left_out));
        frame.note = space.closed.as_ref().map(|why| safe(why.as_ref(), true)).or(left_out);
        frame.height = y + INSET + if frame.note.is_some() { ROW } else { 0 };
        let name = |line: &Line| line.depth * INDENT + MARK + pixels(&line.name);
        frame.names = frame.lines.iter().map(name).max().unwrap_or(0);
        let title = pixels(&frame.title) + PAD + small_pixels(&frame.holder);
        let note = frame.note.as_deref().map_or(0, small_pixels);
        frame.width =
            frame.lines.iter().map(|line| line.extent(frame.names)).chain([title, note]).max().unwrap_or(0) + 2 * PAD;
        frame
    }
}

fn line(survey: &Survey, space: &Space, row: &Row) -> Line {
    let mut words = addresses(&row.link);
    if survey.drawn_end(row).is_none()
        && let Some((far, addresses)) = far(survey, space, row, true)
    {
        words.push(if row.is_paired() { "─" } else { "on" }.to_owned());
        words.push(far);
        words.extend(addresses.into_iter().filter(|_| row.is_paired()));
    }
    let state = state(&row.link);
    let mut details = details(row);
    details.extend((state != "up").then(|| state.to_owned()));
    Line {
        index: row.link.index,
        master: space.master_of(row).map(|master| master.link.index),
        y: 0,
        depth: row.depth as i32,
        name: safe(&row.link.name, true),
        text: words.join(" "),
        details: details.join(", "),
        leader: None,
        state,
    }
}
