//! The page: its tags are closed, it refers to nothing, and no name changes what it is made of.

use ariann_report::page::{Chart, Curve, Fact, Gate, Group, Page, Run};

fn page(name: &str) -> Page {
    let fact = || Fact { what: name.to_string(), value: name.to_string() };
    let gate = |kind: &str, seconds: f64, bytes: u64| Gate {
        name: name.to_string(),
        kind: kind.to_string(),
        notes: name.to_string(),
        computing: [seconds, 2.0 * seconds],
        exchanging: [seconds / 2.0, 0.0],
        sent: [bytes, bytes / 2],
        material: [0, 3 * bytes],
        comparisons: bytes,
    };
    let gates = vec![gate("linear", 0.5, 1000), gate("relu", 0.25, 4000), gate("relu", 0.0, 0)];
    let groups = vec![Group { title: name.to_string(), facts: vec![fact()] }];
    let curve = Curve { name: name.to_string(), points: vec![(1.0, 0.25), (2.0, 0.75), (3.0, f64::NAN)] };
    let charts =
        vec![Chart { title: name.to_string(), across: name.to_string(), unit: name.to_string(), curves: vec![curve] }];
    Page {
        title: name.to_string(),
        facts: vec![fact()],
        runs: vec![Run { name: name.to_string(), groups, charts, gates }],
    }
}

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "br"];

/// Names of all tags with their attributes' names, in order; panics when they are not closed in order or not quoted.
fn tags(html: &str) -> Vec<String> {
    let (mut open, mut all, mut rest) = (Vec::new(), Vec::new(), html);
    while let Some(at) = rest.find('<') {
        let (tag, after) = rest[at + 1..].split_once('>').expect("a tag ends");
        rest = after;
        if tag == "!DOCTYPE html" {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in order");
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "<{tag}>");
        if name == "style" {
            rest = &rest[rest.find("</style>").expect("a style sheet ends")..];
        }
        if !VOID.contains(&name) {
            open.push(name.to_string());
        }
        all.push(name.to_string());
        // name="value" name="value": values are between the quotes.
        let parts: Vec<&str> = attributes.split('"').collect();
        assert!(parts.len() % 2 == 1 && parts.last().unwrap().trim().is_empty(), "<{tag}>");
        all.extend(parts.chunks_exact(2).map(|pair| pair[0].trim().to_string()));
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    all
}

#[test]
fn tags_are_closed_and_begin_as_html_does() {
    let html = page("conv1").html();
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && html.trim_end().ends_with("</html>"));
    let tags = tags(&html);
    for name in ["title", "style", "table", "svg", "rect", "caption", "figure", "polyline", "circle"] {
        assert!(tags.iter().any(|tag| tag == name), "{name}");
    }
}

#[test]
fn it_refers_to_nothing_outside_and_has_no_script() {
    let html = page("conv1").html();
    for word in ["<script", "http:", "https:", "href", "src=", "url(", "@import", "<link", "<img", "<iframe", "xmlns"] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("@media print"));
}

#[test]
fn hostile_names_stay_text() {
    let harmless = tags(&page("conv1").html());
    for name in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onload='alert(1)",
        "</style></title></td><h1>",
        "{{ title }}{% for a in b %}<!--",
        "&lt;b&gt;",
        "\u{0}\u{202e}]]>",
    ] {
        let html = page(name).html();
        assert_eq!(tags(&html), harmless, "{name}");
        assert!(!html.contains(name) || name.bytes().all(|byte| !b"<>\"'&".contains(&byte)), "{name} stands there raw");
    }
    assert!(page("{{ title }}").html().contains("{{ title }}"), "a name is no template");
    assert!(page("&lt;b&gt;").html().contains("&amp;lt;b&amp;gt;"), "a name is shown as it is");
}

#[test]
fn bars_are_shares_of_the_greatest() {
    let html = page("conv1").html();
    // Of 1.0 s, the greatest: P1 computes all of it, P0 computes half of it and exchanges a quarter.
    for rect in [
        "<rect class=\"p1 computes\" x=\"0.000\" y=\"5\" width=\"100.000\"",
        "<rect class=\"p0 computes\" x=\"0.000\" y=\"0\" width=\"50.000\"",
        "<rect class=\"p0 exchanges\" x=\"50.000\" y=\"0\" width=\"25.000\"",
    ] {
        assert!(html.contains(rect), "{rect}");
    }
    // By kind: at P0 the linear gate takes 0.75 s, the ReLU half of that.
    assert!(html.contains("linear: 750.00 ms, 66.7 %") && html.contains("relu: 375.00 ms, 33.3 %"), "{html}");
    assert!(html.contains("P0 sends 4.00 kB") && html.contains("P1 gets 12.00 kB"));
}

#[test]
fn a_page_of_nothing_is_one() {
    let empty = Page { runs: vec![Run::default()], ..Page::default() };
    assert!(tags(&empty.html()).contains(&"section".to_string()));
    let mut odd = page("conv1");
    odd.runs[0].gates[0].computing = [f64::NAN, f64::INFINITY];
    assert!(!odd.html().contains("width=\"NaN\""));
}

#[test]
fn curves_stand_with_their_values() {
    let html = page("accuracy").html();
    assert!(html.contains("<title>accuracy 1: 0.250 accuracy</title>"), "{html}");
    assert!(html.contains("<b>0.750 accuracy</b>") && !html.contains("NaN"), "{html}");
    assert_eq!(html.matches("<circle").count(), 2, "a value that is none has no mark");
    let mut none = page("accuracy");
    none.runs[0].charts[0].curves[0].points.clear();
    assert!(!none.html().contains("<figure"), "a chart without points is none");
}
