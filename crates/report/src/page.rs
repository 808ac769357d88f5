//! One self-contained page about runs: where time, bytes and material go, gate by gate.
//!
//! It refers to nothing outside of itself and has no scripts, so that it can be mailed and kept. Every text that it shows may
//! come from a model file of somebody else: the template escapes all of them.

use std::collections::BTreeMap;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;

use crate::chart::ChartView;
pub use crate::chart::{Chart, Curve};
use crate::{bytes, count, seconds};

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The heading.
    pub title: String,
    /// What holds for all runs: the program, the machine.
    pub facts: Vec<Fact>,
    /// The runs.
    pub runs: Vec<Run>,
}

/// A line of two columns.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// What it is about.
    pub what: String,
    /// What there is to say.
    pub value: String,
}

/// Facts under one heading.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// The heading.
    pub title: String,
    /// The facts.
    pub facts: Vec<Fact>,
}

/// Runs of one network.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The network.
    pub name: String,
    /// What there is to say about it as a whole.
    pub groups: Vec<Group>,
    /// Curves of what was revealed.
    pub charts: Vec<Chart>,
    /// Its gates in plan order.
    pub gates: Vec<Gate>,
}

/// One gate, over all runs. Pairs are P0's and P1's.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// Width, scale and form.
    pub notes: String,
    /// Seconds of computing.
    pub computing: [f64; 2],
    /// Seconds of sending, and of waiting for the other party.
    pub exchanging: [f64; 2],
    /// Bytes sent.
    pub sent: [u64; 2],
    /// Bytes of material.
    pub material: [u64; 2],
    /// Comparisons.
    pub comparisons: u64,
}

impl Page {
    /// The page as HTML.
    pub fn html(&self) -> String {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // The ending of the name turns escaping on.
        templates.add_template("page.html", include_str!("page.html")).expect("the template is one");
        let view = View { title: &self.title, facts: &self.facts, runs: self.runs.iter().map(RunView::new).collect() };
        let page = templates.get_template("page.html").expect("it was added");
        page.render(Value::from(Serde(view))).expect("the view has what the template names")
    }
}

#[derive(Serialize)]
struct View<'a> {
    title: &'a str,
    facts: &'a [Fact],
    runs: Vec<RunView<'a>>,
}

#[derive(Serialize)]
struct RunView<'a> {
    name: &'a str,
    groups: &'a [Group],
    charts: Vec<ChartView<'a>>,
    kinds: Vec<Kind<'a>>,
    totals: Vec<Total>,
    gates: Vec<Row<'a>>,
}

/// All gates of a kind: its colour, and what they took together.
#[derive(Serialize)]
struct Kind<'a> {
    class: String,
    kind: &'a str,
    gates: usize,
    comparisons: String,
    cells: [String; 3],
}

/// One measure, divided by kinds of gates.
#[derive(Serialize)]
struct Total {
    what: &'static str,
    total: String,
    bars: Vec<Bar>,
}

/// A gate's row.
#[derive(Serialize)]
struct Row<'a> {
    number: usize,
    name: &'a str,
    kind: &'a str,
    class: String,
    notes: &'a str,
    comparisons: String,
    cells: [Cell; 3],
}

/// A figure of a gate: P0's bars above P1's.
#[derive(Serialize)]
struct Cell {
    text: String,
    bars: Vec<Bar>,
}

/// A rectangle in a drawing that is 100 wide.
#[derive(Serialize)]
struct Bar {
    x: String,
    y: u32,
    width: String,
    class: String,
    title: String,
}

/// Kinds with a colour of their own; the others share one.
const COLOURS: usize = 7;

/// Measures of a gate that are divided by kinds: what it is, its value, and how values read.
type Measure = (&'static str, fn(&Gate) -> f64, fn(f64) -> String);

const MEASURES: [Measure; 6] = [
    ("time at P0", |gate| gate.computing[0] + gate.exchanging[0], seconds),
    ("time at P1", |gate| gate.computing[1] + gate.exchanging[1], seconds),
    ("sent by P0", |gate| gate.sent[0] as f64, whole_bytes),
    ("sent by P1", |gate| gate.sent[1] as f64, whole_bytes),
    ("material of P0", |gate| gate.material[0] as f64, whole_bytes),
    ("material of P1", |gate| gate.material[1] as f64, whole_bytes),
];

fn whole_bytes(value: f64) -> String {
    bytes(value as u64)
}

/// `part` of `whole` in percent of a drawing; figures that are none draw nothing.
fn share(part: f64, whole: f64) -> f64 {
    if part > 0.0 && whole > 0.0 { (100.0 * part / whole).min(100.0) } else { 0.0 }
}

impl<'a> RunView<'a> {
    fn new(run: &'a Run) -> Self {
        let kinds = by_time(&run.gates);
        let class = |kind: &str| {
            let rank = kinds.iter().position(|own| *own == kind).unwrap_or(COLOURS);
            format!("k{}", rank.min(COLOURS))
        };
        let totals = MEASURES.iter().map(|measure| Total::new(measure, &run.gates, &kinds, &class)).collect();
        let most = Most::of(&run.gates);
        let gates = run.gates.iter().enumerate();
        RunView {
            name: &run.name,
            groups: &run.groups,
            charts: run.charts.iter().filter_map(Chart::view).collect(),
            kinds: kinds.iter().map(|kind| Kind::new(kind, class(kind), &run.gates)).collect(),
            totals,
            gates: gates.map(|(number, gate)| Row::new(number, gate, &most, class(&gate.kind))).collect(),
        }
    }
}

/// Kinds of gates, those that take most time first.
fn by_time(gates: &[Gate]) -> Vec<&str> {
    let mut kinds: BTreeMap<&str, f64> = BTreeMap::new();
    for gate in gates {
        *kinds.entry(&gate.kind).or_default() += gate.computing.iter().chain(&gate.exchanging).sum::<f64>();
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    kinds.into_iter().map(|(kind, _)| kind).collect()
}

impl<'a> Kind<'a> {
    fn new(kind: &'a str, class: String, gates: &[Gate]) -> Self {
        let own = || gates.iter().filter(|gate| gate.kind == kind);
        let both = |text: fn(f64) -> String, of: &dyn Fn(&Gate, usize) -> f64| {
            [0, 1].map(|party| text(own().map(|gate| of(gate, party)).sum())).join(" / ")
        };
        let comparisons = own().map(|gate| gate.comparisons).sum();
        let cells = [
            both(seconds, &|gate, party| gate.computing[party] + gate.exchanging[party]),
            both(whole_bytes, &|gate, party| gate.sent[party] as f64),
            both(whole_bytes, &|gate, party| gate.material[party] as f64),
        ];
        let comparisons = if comparisons > 0 { count(comparisons) } else { String::new() };
        Kind { class, kind, gates: own().count(), comparisons, cells }
    }
}

impl Total {
    fn new((what, of, text): &Measure, gates: &[Gate], kinds: &[&str], class: &impl Fn(&str) -> String) -> Self {
        let whole: f64 = gates.iter().map(of).sum();
        let mut from = 0.0;
        let bar = |kind: &&str| {
            let part: f64 = gates.iter().filter(|gate| gate.kind == *kind).map(of).sum();
            let width = share(part, whole);
            let bar = Bar {
                x: format!("{from:.3}"),
                y: 0,
                width: format!("{width:.3}"),
                class: class(kind),
                title: format!("{kind}: {}, {width:.1} %", text(part)),
            };
            from += width;
            (width > 0.0).then_some(bar)
        };
        Total { what, total: text(whole), bars: kinds.iter().filter_map(bar).collect() }
    }
}

/// The greatest figures of one party and gate: what fills a drawing.
struct Most {
    seconds: f64,
    sent: f64,
    material: f64,
}

impl Most {
    fn of(gates: &[Gate]) -> Self {
        let most =
            |of: fn(&Gate, usize) -> f64| gates.iter().flat_map(|gate| [of(gate, 0), of(gate, 1)]).fold(0.0, f64::max);
        Most {
            seconds: most(|gate, party| gate.computing[party] + gate.exchanging[party]),
            sent: most(|gate, party| gate.sent[party] as f64),
            material: most(|gate, party| gate.material[party] as f64),
        }
    }
}

impl<'a> Row<'a> {
    fn new(number: usize, gate: &'a Gate, most: &Most, class: String) -> Self {
        let comparisons = if gate.comparisons > 0 { count(gate.comparisons) } else { String::new() };
        let cells = [
            Cell::time(gate, most.seconds),
            Cell::bytes("sends", gate.sent, most.sent),
            Cell::bytes("gets", gate.material, most.material),
        ];
        Row { number, name: &gate.name, kind: &gate.kind, class, notes: &gate.notes, comparisons, cells }
    }
}

impl Cell {
    fn time(gate: &Gate, most: f64) -> Self {
        let bars = (0..2).flat_map(|party| {
            let computing = share(gate.computing[party], most);
            let bar = |x: f64, width: f64, does: &str, value: f64| Bar {
                x: format!("{x:.3}"),
                y: 5 * party as u32,
                width: format!("{width:.3}"),
                class: format!("p{party} {does}"),
                title: format!("P{party} {does} {}", seconds(value)),
            };
            [
                bar(0.0, computing, "computes", gate.computing[party]),
                bar(computing, share(gate.exchanging[party], most), "exchanges", gate.exchanging[party]),
            ]
        });
        let both = [0, 1].map(|party| seconds(gate.computing[party] + gate.exchanging[party]));
        Cell { text: both.join(" / "), bars: bars.collect() }
    }

    fn bytes(does: &str, values: [u64; 2], most: f64) -> Self {
        if values == [0, 0] {
            return Cell { text: String::new(), bars: Vec::new() };
        }
        let bars = values.iter().enumerate().map(|(party, value)| Bar {
            x: "0".to_string(),
            y: 5 * party as u32,
            width: format!("{:.3}", share(*value as f64, most)),
            class: format!("p{party}"),
            title: format!("P{party} {does} {}", bytes(*value)),
        });
        Cell { text: values.map(bytes).join(" / "), bars: bars.collect() }
    }
}
