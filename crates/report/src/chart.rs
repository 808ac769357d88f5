//! Curves: values over steps or epochs, as a drawing with axes.

use serde::Serialize;

/// Curves over a common axis.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// The heading.
    pub title: String,
    /// What is counted along the axis: "epoch".
    pub across: String,
    /// Written behind each value.
    pub unit: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

/// One curve.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// Its name in the legend.
    pub name: String,
    /// Where and how much, ascending. Values that are no numbers are left out.
    pub points: Vec<(f64, f64)>,
}

/// Width and height of a drawing, and what is left free at its left, right, top and bottom.
const SIZE: (f64, f64) = (560.0, 260.0);
const FREE: [f64; 4] = [56.0, 14.0, 10.0, 38.0];

/// More points than this are joined to averages: a drawing has no room for them.
const MOST_POINTS: usize = 240;

/// Points of a curve up to which each is marked.
const MARKED: usize = 40;

/// Colours of curves.
const COLOURS: usize = 4;

/// A chart as the template takes it.
#[derive(Serialize)]
pub(crate) struct ChartView<'a> {
    title: &'a str,
    across: &'a str,
    width: f64,
    height: f64,
    left: String,
    right: String,
    bottom: String,
    middle: String,
    foot: f64,
    columns: Vec<Tick>,
    rows: Vec<Tick>,
    curves: Vec<CurveView<'a>>,
}

/// A line across the drawing with its number.
#[derive(Serialize)]
struct Tick {
    at: String,
    text: String,
}

#[derive(Serialize)]
struct CurveView<'a> {
    name: &'a str,
    class: String,
    line: String,
    marks: Vec<Mark>,
    last: String,
}

#[derive(Serialize)]
struct Mark {
    x: String,
    y: String,
    title: String,
}

/// An axis: least and greatest value, and where they lie in the drawing.
struct Axis {
    values: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    fn place(&self, value: f64) -> String {
        let (lo, hi) = self.values;
        let (from, to) = self.places;
        format!("{:.1}", from + (value - lo) / (hi - lo) * (to - from))
    }
}

/// A distance of 1, 2 or 5 times a power of ten, such that about `wanted` of them fill `span`.
fn distance(span: f64, wanted: f64) -> f64 {
    let raw = span / wanted;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= raw * 0.999).unwrap_or(10.0);
    step * power
}

/// A number with the digits that tell `step` apart.
fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_string() } else { text }
}

/// The range of an axis widened to whole steps, and the ticks.
fn ticks(lo: f64, hi: f64, wanted: f64, least: f64) -> (f64, f64, f64, Vec<f64>) {
    let span = if hi - lo > 1e-9 * hi.abs().max(1e-9) { hi - lo } else { hi.abs().max(1.0) * 0.1 };
    let step = distance(span, wanted).max(least);
    let (first, last) = ((lo / step).floor(), (hi / step).ceil().max((lo / step).floor() + 1.0));
    let count = (last - first).min(40.0) as usize;
    let ticks = (0..=count).map(|tick| (first + tick as f64) * step).collect();
    (first * step, last * step, step, ticks)
}

/// As many points as a drawing has room for.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    let bucket = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let sums = points.iter().fold((0.0, 0.0), |sums, (x, y)| (sums.0 + x, sums.1 + y));
        (sums.0 / points.len() as f64, sums.1 / points.len() as f64)
    };
    points.chunks(bucket).map(mean).collect()
}

impl Chart {
    /// How it is drawn; none when no curve has a point.
    pub(crate) fn view(&self) -> Option<ChartView<'_>> {
        let points: Vec<_> = self.curves.iter().map(|curve| thinned(&curve.points)).collect();
        let all = || points.iter().flatten();
        all().next()?;
        let least = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
        let greatest = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (x0, x1) = (least(|point| point.0), greatest(|point| point.0));
        let (lo, hi, step, rows) = ticks(least(|point| point.1), greatest(|point| point.1), 4.0, 0.0);
        let (_, _, across, columns) = ticks(x0, x1, 8.0, 1.0);
        let [left, right, top, bottom] = FREE;
        let x = Axis { values: if x1 > x0 { (x0, x1) } else { (x0 - 0.5, x0 + 0.5) }, places: (left, SIZE.0 - right) };
        let y = Axis { values: (lo, hi), places: (SIZE.1 - bottom, top) };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let within = |tick: &&f64| (x0 - 1e-9..=x1 + 1e-9).contains(*tick);
        let columns = columns.iter().filter(within);
        let digits = step / 100.0;
        let told = |value: f64| format!("{}{unit}", number(value, digits));
        let curves = self.curves.iter().zip(&points).enumerate().map(|(index, (curve, points))| {
            let mark = |&(at, value): &(f64, f64)| Mark {
                x: x.place(at),
                y: y.place(value),
                title: format!("{} {}: {}", self.across, number(at, across), told(value)),
            };
            let line = points.iter().map(|(at, value)| format!("{},{}", x.place(*at), y.place(*value)));
            CurveView {
                name: &curve.name,
                class: format!("c{}", index.min(COLOURS - 1)),
                line: line.collect::<Vec<_>>().join(" "),
                marks: points.iter().filter(|_| points.len() <= MARKED).map(mark).collect(),
                last: points.last().map_or(String::new(), |(_, value)| told(*value)),
            }
        });
        Some(ChartView {
            title: &self.title,
            across: &self.across,
            width: SIZE.0,
            height: SIZE.1,
            left: format!("{left:.1}"),
            right: format!("{:.1}", SIZE.0 - right),
            bottom: format!("{:.1}", SIZE.1 - bottom),
            middle: format!("{:.1}", (left + SIZE.0 - right) / 2.0),
            foot: SIZE.1 - 4.0,
            columns: columns.map(|tick| Tick { at: x.place(*tick), text: number(*tick, across) }).collect(),
            rows: rows
                .iter()
                .map(|tick| Tick { at: y.place(*tick), text: format!("{}{unit}", number(*tick, step)) })
                .collect(),
            curves: curves.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_range() {
        let (lo, hi, step, rows) = ticks(0.13, 0.92, 4.0, 0.0);
        assert_eq!((lo, step, rows.len()), (0.0, 0.2, 6));
        assert!((hi - 1.0).abs() < 1e-12 && rows.windows(2).all(|pair| pair[0] < pair[1]));
        // Epochs are whole, and one value alone has an axis as well.
        let (lo, hi, step, _) = ticks(1.0, 3.0, 8.0, 1.0);
        assert_eq!((lo, hi, step), (1.0, 3.0, 1.0));
        let (lo, hi, ..) = ticks(2.0, 2.0, 4.0, 0.0);
        assert!(lo <= 2.0 && hi > lo);
        let (lo, hi, ..) = ticks(0.0, 0.0, 4.0, 0.0);
        assert!(lo <= 0.0 && hi > lo);
    }

    #[test]
    fn numbers_have_the_digits_that_tell_steps_apart() {
        assert_eq!([number(0.25, 0.05), number(20.0, 5.0), number(-0.0, 0.5)], ["0.25", "20", "0"]);
    }

    #[test]
    fn many_points_become_averages_and_no_number_is_left_out() {
        let points: Vec<(f64, f64)> =
            (0..1000).map(|at| (f64::from(at), if at == 7 { f64::NAN } else { 1.0 })).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS && thin.iter().all(|(_, y)| *y == 1.0));
        assert_eq!(thinned(&[(1.0, 2.0), (2.0, 4.0)]), [(1.0, 2.0), (2.0, 4.0)]);
    }

    #[test]
    fn the_least_value_is_at_the_bottom_and_the_greatest_at_the_top() {
        let curve = Curve { name: "private".into(), points: vec![(1.0, 0.0), (2.0, 100.0)] };
        let chart = Chart { title: "t".into(), across: "epoch".into(), unit: "%".into(), curves: vec![curve] };
        let view = chart.view().expect("points");
        assert_eq!(view.curves[0].line, "56.0,222.0 546.0,10.0");
        assert_eq!(view.curves[0].marks[1].title, "epoch 2: 100.0 %");
        assert_eq!((view.curves[0].last.as_str(), view.rows[0].text.as_str()), ("100.0 %", "0 %"));
        assert!(Chart::default().view().is_none());
    }
}
