//! Where everything stands in a picture, in pixels.
//!
//! Namespaces with bridges are in the first column, those wired to them in the
//! next, and so on: a wire leads to the next column or stays in its own. The
//! rows of the first are as far apart as it takes for wires to be straight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::frame::{Frame, PAD, ROW};
use super::survey::{End, Survey};

/// Around everything.
pub const MARGIN: i32 = 16;
/// From box to box in a column.
const GAP: i32 = 14;
/// From column to column.
const AISLE: i32 = 90;
/// As wide as what is wired may be before what is not is wrapped.
const WRAP: i32 = 900;

/// All of it.
#[derive(Debug, Default)]
pub struct Picture {
    /// How wide.
    pub width: i32,
    /// How high.
    pub height: i32,
    /// The namespaces.
    pub boxes: Vec<Frame>,
    /// What is wired.
    pub wires: Vec<Wire>,
}

/// From a row to a row.
#[derive(Debug)]
pub struct Wire {
    /// The links.
    pub ends: [End; 2],
    /// Where they are.
    pub at: [(i32, i32); 2],
    /// How far it bulges out of the column that both ends are in, to the left if negative.
    pub bulge: Option<i32>,
    /// Whether these are peers; else one sits on the other.
    pub paired: bool,
    /// Whether both are up.
    pub up: bool,
}

/// Finds a place for everything that is shown.
pub fn place(survey: &Survey) -> Picture {
    let mut plan = Plan::new(survey);
    let columns = plan.columns();
    plan.place_first(&columns);
    for column in 2..columns.iter().flatten().max().map_or(0, |last| last + 1) {
        plan.place_next(column, &columns);
    }
    let wired = plan.align(&columns);
    plan.place_loose(&columns, wired);
    plan.finish(&columns)
}

struct Plan {
    frames: Vec<Frame>,
    /// Where each shown namespace is in `frames`.
    at: BTreeMap<usize, usize>,
    wires: Vec<(End, End, bool)>,
    /// The ends of the wires of each link.
    far: BTreeMap<End, Vec<End>>,
    up: BTreeMap<End, bool>,
    placed: BTreeSet<usize>,
    /// The lower end of each column.
    bottom: Vec<i32>,
}

impl Plan {
    fn new(survey: &Survey) -> Self {
        let frames: Vec<Frame> = survey.shown.iter().map(|&space| Frame::of(survey, space)).collect();
        let at = survey.shown.iter().enumerate().map(|(at, &space)| (space, at)).collect();
        let (mut wires, mut far, mut up) = (Vec::new(), BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for &space in &survey.shown {
            for row in survey.spaces[space].drawn() {
                let near = End { space, index: row.link.index };
                up.insert(near, row.link.up && row.link.carrier);
                let Some(end) = survey.drawn_end(row) else { continue };
                // Both ends of a pair tell of it.
                if !row.is_paired() || near < end {
                    wires.push((near, end, row.is_paired()));
                    far.entry(near).or_default().push(end);
                    far.entry(end).or_default().push(near);
                }
            }
        }
        let bottom = vec![MARGIN; frames.len() + 1];
        Self { frames, at, wires, far, up, placed: BTreeSet::new(), bottom }
    }

    fn frame_of(&self, end: End) -> usize {
        self.at[&end.space]
    }

    /// The frames that one is wired to, but for itself.
    fn neighbours(&self, frame: usize) -> BTreeSet<usize> {
        let space = self.frames[frame].space;
        let ends = self.frames[frame].lines.iter().flat_map(|line| self.ends(End { space, index: line.index }));
        ends.map(|end| self.frame_of(*end)).filter(|&far| far != frame).collect()
    }

    fn ends(&self, end: End) -> &[End] {
        self.far.get(&end).map_or(&[], Vec::as_slice)
    }

    /// The column of each frame: how far it is from the next one with ports;
    /// `None` for what is wired to nothing.
    fn columns(&self) -> Vec<Option<usize>> {
        let neighbours: Vec<_> = (0..self.frames.len()).map(|frame| self.neighbours(frame)).collect();
        let mut columns = vec![None; self.frames.len()];
        let has_ports = |frame: &usize| self.frames[*frame].lines.iter().any(|line| line.master.is_some());
        let (first, mut rest): (Vec<usize>, Vec<usize>) =
            (0..self.frames.len()).filter(|&frame| !neighbours[frame].is_empty()).partition(has_ports);
        spread(first, &neighbours, &mut columns);
        // Where there is no bridge, from what has most wires.
        rest.sort_by_key(|&frame| std::cmp::Reverse(neighbours[frame].len()));
        for frame in rest {
            if columns[frame].is_none() {
                spread(vec![frame], &neighbours, &mut columns);
            }
        }
        columns
    }

    /// The first column, stretched, and the second beside it.
    fn place_first(&mut self, columns: &[Option<usize>]) {
        for frame in (0..self.frames.len()).filter(|&frame| columns[frame] == Some(0)) {
            let space = self.frames[frame].space;
            let next = |plan: &Self, index| {
                plan.ends(End { space, index })
                    .iter()
                    .copied()
                    .filter(|end| columns[plan.frame_of(*end)] == Some(1))
                    .collect::<Vec<_>>()
            };
            let leads_on = self.frames[frame]
                .lines
                .iter()
                .any(|line| next(self, line.index).iter().any(|end| !self.placed.contains(&self.frame_of(*end))));
            let top = if leads_on { self.bottom[0].max(self.bottom[1]) } else { self.bottom[0] };
            self.frames[frame].y = top;
            let mut shift = 0;
            for line in 0..self.frames[frame].lines.len() {
                let (index, y) = (self.frames[frame].lines[line].index, self.frames[frame].lines[line].y + shift);
                let mut down = 0;
                for (nth, end) in next(self, index).into_iter().enumerate() {
                    self.place_beside(end, 1, top + y);
                    if nth == 0 {
                        down = (self.row_at(end) - top - y).max(0);
                    }
                }
                shift += down;
                self.frames[frame].lines[line].y = y + down;
            }
            self.frames[frame].height += shift;
            self.settle(frame, 0);
        }
    }

    /// A further column, beside the one before it.
    fn place_next(&mut self, column: usize, columns: &[Option<usize>]) {
        let before = (0..self.frames.len()).filter(|&frame| columns[frame] == Some(column - 1));
        let mut wanted: Vec<(i32, End)> = Vec::new();
        for frame in before {
            let Frame { space, y, ref lines, .. } = self.frames[frame];
            for line in lines {
                let ends = self.ends(End { space, index: line.index }).iter().copied();
                wanted.extend(
                    ends.filter(|end| columns[self.frame_of(*end)] == Some(column)).map(|end| (y + line.y, end)),
                );
            }
        }
        wanted.sort();
        for (y, end) in wanted {
            self.place_beside(end, column, y);
        }
    }

    /// Puts the frame of a link where its row is level with `y`, or below what
    /// is there.
    fn place_beside(&mut self, end: End, column: usize, y: i32) {
        let frame = self.frame_of(end);
        if !self.placed.contains(&frame) {
            self.frames[frame].y = 0;
            self.frames[frame].y = (y - self.row_at(end)).max(self.bottom[column]);
            self.settle(frame, column);
        }
    }

    fn settle(&mut self, frame: usize, column: usize) {
        self.placed.insert(frame);
        self.bottom[column] = self.frames[frame].y + self.frames[frame].height + GAP;
    }

    /// The middle of a link's row.
    fn row_at(&self, end: End) -> i32 {
        let frame = &self.frames[self.frame_of(end)];
        let line = frame.lines.iter().find(|line| line.index == end.index);
        frame.y + line.map_or(0, |line| line.y)
    }

    /// Makes the boxes of a column equally wide; gives how wide all are together.
    fn align(&mut self, columns: &[Option<usize>]) -> i32 {
        let last = columns.iter().flatten().max().map_or(0, |last| last + 1);
        // Wires that stay in the first column are left of it.
        let stays = |wire: &&(End, End, bool)| {
            columns[self.frame_of(wire.0)] == Some(0) && columns[self.frame_of(wire.1)] == Some(0)
        };
        let bulge = self.wires.iter().filter(stays).map(|wire| self.span(wire)).max().unwrap_or(0);
        let mut x = MARGIN + bulge;
        for column in 0..last {
            let frames: Vec<usize> = (0..self.frames.len()).filter(|&frame| columns[frame] == Some(column)).collect();
            let width = frames.iter().map(|&frame| self.frames[frame].width).max().unwrap_or(0);
            for frame in frames {
                (self.frames[frame].x, self.frames[frame].width) = (x, width);
            }
            x += width + AISLE;
        }
        (x - AISLE).max(0)
    }

    /// How far a wire bulges that stays in its column: the farther its ends are apart.
    fn span(&self, wire: &(End, End, bool)) -> i32 {
        let rows = (self.row_at(wire.0) - self.row_at(wire.1)).abs() / ROW;
        (16 + 3 * rows).min(AISLE - 20)
    }

    /// What is wired to nothing, in lines below all else.
    fn place_loose(&mut self, columns: &[Option<usize>], wired: i32) {
        let top = self.bottom.iter().max().map_or(MARGIN, |bottom| *bottom);
        let (mut x, mut y, mut height) = (MARGIN, if top > MARGIN { top + GAP } else { top }, 0);
        for frame in (0..self.frames.len()).filter(|&frame| columns[frame].is_none()) {
            let frame = &mut self.frames[frame];
            if x > MARGIN && x + frame.width > wired.max(WRAP) {
                (x, y, height) = (MARGIN, y + height + GAP, 0);
            }
            (frame.x, frame.y) = (x, y);
            // Room for what is wired within it.
            x += frame.width + AISLE / 2;
            height = height.max(frame.height);
        }
    }

    /// Leads wires on to the words that they are of.
    fn lead(&mut self, wires: &[Wire]) {
        for (end, x) in wires.iter().flat_map(|wire| wire.ends.into_iter().zip(wire.at.map(|at| at.0))) {
            let frame = self.frame_of(end);
            let Frame { x: left, width, names, ref mut lines, .. } = self.frames[frame];
            if let Some(line) = lines.iter_mut().find(|line| line.index == end.index && x == left + width) {
                let after = line.extent(names);
                line.leader = Some((PAD + after + 8, width)).filter(|(from, to)| from < to);
            }
        }
    }

    fn finish(mut self, columns: &[Option<usize>]) -> Picture {
        let mut wires: Vec<Wire> = self.wires.iter().map(|wire| self.wire(wire, columns)).collect();
        self.lead(&wires);
        // Nothing is to be hidden by what is longer.
        wires.sort_by_key(|wire| std::cmp::Reverse((wire.at[0].1 - wire.at[1].1).abs()));
        let right = self.frames.iter().map(|frame| frame.x + frame.width);
        let bulges = wires.iter().map(|wire| wire.at[0].0.max(wire.at[1].0) + wire.bulge.unwrap_or(0));
        let width = right.chain(bulges).max().unwrap_or(0) + MARGIN;
        let height = self.frames.iter().map(|frame| frame.y + frame.height).max().unwrap_or(0) + MARGIN;
        Picture { width, height, boxes: self.frames, wires }
    }

    fn wire(&self, wire: &(End, End, bool), columns: &[Option<usize>]) -> Wire {
        let (mut ends, paired) = ([wire.0, wire.1], wire.2);
        let column = |end: End| columns[self.frame_of(end)];
        if column(ends[0]) > column(ends[1]) {
            ends.swap(0, 1);
        }
        let [left, right] = ends.map(|end| (&self.frames[self.frame_of(end)], self.row_at(end)));
        let edge = |frame: &Frame| frame.x + frame.width;
        let (at, bulge) = match (column(ends[0]), column(ends[1])) {
            (Some(0), Some(0)) => ([(left.0.x, left.1), (right.0.x, right.1)], Some(-self.span(wire))),
            (a, b) if a == b => ([(edge(left.0), left.1), (edge(right.0), right.1)], Some(self.span(wire))),
            _ => ([(edge(left.0), left.1), (right.0.x, right.1)], None),
        };
        let up = ends.iter().all(|end| self.up.get(end).is_some_and(|up| *up));
        Wire { ends, at, bulge, paired, up }
    }
}

/// Numbers the columns by the distance from these.
fn spread(from: Vec<usize>, neighbours: &[BTreeSet<usize>], columns: &mut [Option<usize>]) {
    from.iter().for_each(|&frame| columns[frame] = Some(0));
    let mut queue: VecDeque<(usize, usize)> = from.into_iter().map(|frame| (frame, 0)).collect();
    while let Some((frame, column)) = queue.pop_front() {
        for &next in &neighbours[frame] {
            if columns[next].is_none() {
                columns[next] = Some(column + 1);
                queue.push_back((next, column + 1));
            }
        }
    }
}
