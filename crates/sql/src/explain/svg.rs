//! The circuit as a picture: layers of boxes from the tables down to the views.
//!
//! A box is one layer below its lowest input. Inside a layer, boxes stand in the order of their
//! inputs' mean place, which keeps most lines short; that is all the layout there is, because the
//! picture must need no other program.

use highwater_circuit::plan::{NodeIndex, Plan};

use super::{short_id, summary, write_text};

const BOX_WIDTH: usize = 260;
const BOX_HEIGHT: usize = 64;
const GAP_X: usize = 24;
const GAP_Y: usize = 48;
const MARGIN: usize = 20;
/// What fits into a box at the font size of the style.
const LINE_LETTERS_MAX: usize = 40;

const STYLE: &str = "text{font:11px sans-serif;fill:#1b2a33}\
.title{font-weight:bold}.id{fill:#6b7f8a}\
rect{fill:#f3f8fb;stroke:#5f8aa3;rx:4}rect.table{fill:#e3f1e4;stroke:#5b9460}\
rect.view{fill:#fdf0d9;stroke:#b98a3c}path{fill:none;stroke:#8fa5b1}";

/// A box: an operator or a view.
struct Item {
    title: String,
    lines: Vec<String>,
    class: &'static str,
    inputs: Vec<usize>,
    layer: usize,
    /// Position in its layer.
    place: usize,
}

/// An SVG document.
pub fn explain_svg(plan: &Plan) -> String {
    let mut items = items(plan);
    let layers = layers(&mut items);
    let widest = layers.iter().map(Vec::len).max().unwrap_or(0);
    let width = 2 * MARGIN + widest * (BOX_WIDTH + GAP_X);
    let height = 2 * MARGIN + layers.len() * (BOX_HEIGHT + GAP_Y);
    let left = |item: &Item| {
        let free = widest - layers[item.layer].len();
        MARGIN + free * (BOX_WIDTH + GAP_X) / 2 + item.place * (BOX_WIDTH + GAP_X)
    };
    let top = |item: &Item| MARGIN + item.layer * (BOX_HEIGHT + GAP_Y);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8\"/></marker></defs>\n"
    );
    for item in &items {
        let end = (left(item) + BOX_WIDTH / 2, top(item));
        for &input in &item.inputs {
            let input = &items[input];
            let start = (left(input) + BOX_WIDTH / 2, top(input) + BOX_HEIGHT);
            write_line(&mut text, start, end);
        }
    }
    for item in &items {
        write_box(&mut text, item, left(item), top(item));
    }
    text.push_str("</svg>\n");
    text
}

fn items(plan: &Plan) -> Vec<Item> {
    let nodes = plan.nodes.iter().enumerate().map(|(index, node)| {
        let text = summary(plan, NodeIndex(index));
        let name = node.operator.name();
        let detail = text[name.len()..].trim_start();
        Item {
            title: format!("{name} {}", short_id(node)),
            lines: wrapped(detail),
            class: if node.inputs.is_empty() {
                "table"
            } else {
                "operator"
            },
            inputs: node.inputs.iter().map(|input| input.0).collect(),
            layer: 0,
            place: 0,
        }
    });
    let views = plan.views.iter().map(|view| Item {
        title: format!("view {}", view.name),
        lines: Vec::new(),
        class: "view",
        inputs: vec![view.node.0],
        layer: 0,
        place: 0,
    });
    nodes.chain(views).collect()
}

/// Two lines of a box; the rest is cut off.
fn wrapped(detail: &str) -> Vec<String> {
    let letters: Vec<char> = detail.chars().collect();
    let mut lines: Vec<String> = letters
        .chunks(LINE_LETTERS_MAX)
        .take(2)
        .map(|line| line.iter().collect())
        .collect();
    if let (true, Some(last)) = (letters.len() > 2 * LINE_LETTERS_MAX, lines.last_mut()) {
        last.pop();
        last.push('…');
    }
    lines
}

/// Gives each item its layer and place, and lists the items of each layer. Inputs come before the
/// items that read them.
fn layers(items: &mut [Item]) -> Vec<Vec<usize>> {
    let mut layers: Vec<Vec<usize>> = Vec::new();
    for index in 0..items.len() {
        let inputs = items[index].inputs.iter();
        let layer = inputs.map(|&input| items[input].layer + 1).max();
        items[index].layer = layer.unwrap_or(0);
        if layers.len() <= items[index].layer {
            layers.resize_with(items[index].layer + 1, Vec::new);
        }
        layers[items[index].layer].push(index);
    }
    for layer in &mut layers {
        layer.sort_by_cached_key(|&index| mean_place(items, index));
        for (place, &index) in layer.iter().enumerate() {
            items[index].place = place;
        }
    }
    layers
}

/// In thousandths, to be sortable.
fn mean_place(items: &[Item], index: usize) -> usize {
    let inputs = &items[index].inputs;
    let sum: usize = inputs.iter().map(|&input| items[input].place * 1000).sum();
    sum / inputs.len().max(1)
}

fn write_line(text: &mut String, start: (usize, usize), end: (usize, usize)) {
    let bend = GAP_Y / 2;
    write_text(
        text,
        format_args!(
            "<path d=\"M{} {}C{} {} {} {} {} {}\" marker-end=\"url(#arrow)\"/>\n",
            start.0,
            start.1,
            start.0,
            start.1 + bend,
            end.0,
            end.1 - bend,
            end.0,
            end.1
        ),
    );
}

fn write_box(text: &mut String, item: &Item, left: usize, top: usize) {
    let class = item.class;
    write_text(
        text,
        format_args!(
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{BOX_WIDTH}\" \
             height=\"{BOX_HEIGHT}\"/>\n"
        ),
    );
    let x = left + 8;
    let lines = std::iter::once(&item.title).chain(&item.lines);
    for (index, line) in lines.enumerate() {
        let y = top + 18 + 18 * index;
        let class = if index == 0 { "title" } else { "detail" };
        let line = escaped(line);
        write_text(
            text,
            format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{line}</text>\n"),
        );
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Not allowed in XML, whatever the escape.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
