//! What a plan says about each of its gates, and the forecast of both forms of each comparison.

use ariann_gates::{Comparison, Sign, Window, drelu};
use ariann_plan::{Compared, Gate, Link, Plan, Rates, Scale};
use ariann_report::{bytes, seconds, table};
use serde_json::{Value, json};

/// A plan's gates, for runs of some items over a link.
pub struct Gates<'a> {
    plan: &'a Plan,
    /// The same plan with all comparisons in one form.
    dpf: Plan,
    chunks: Plan,
    items: usize,
    link: Link,
}

/// Bits of a gate's operands, where they are fewer than the ring's.
fn width(gate: &Gate) -> Option<u32> {
    match gate {
        Gate::Open(gate) => Some(gate.window.width()),
        Gate::Cut(gate) => Some(gate.width),
        Gate::Max(gate) => Some(gate.width),
        Gate::Relu(gate) => Some(gate.width),
        Gate::Clip(gate) => Some(gate.width),
        Gate::Truncate(gate) => Some(gate.width),
        Gate::Lookup(gate) => Some(gate.width),
        Gate::ArgMax(gate) => Some(gate.width),
        _ => None,
    }
}

fn window(gate: &Gate) -> Option<Window> {
    if let Gate::Open(gate) = gate { Some(gate.window) } else { None }
}

/// A unit as people write it.
fn unit(scale: Scale) -> String {
    let power = format!("2^{}", -scale.frac);
    if scale.factor == 1 { power } else { format!("{power}/{}", scale.factor) }
}

impl<'a> Gates<'a> {
    pub fn new(plan: &'a Plan, items: usize, link: Link) -> Self {
        let all = |wanted: Comparison| {
            let mut plan = plan.clone();
            for entry in &mut plan.gates {
                let cut = entry.gate.compares().is_some_and(|compared| drelu::chunked(compared.bits).is_some());
                if let (true, Some(form)) = (cut, entry.gate.form_mut()) {
                    *form = wanted;
                }
            }
            plan
        };
        Gates { plan, dpf: all(Comparison::Dpf), chunks: all(Comparison::Chunks), items, link }
    }

    fn seconds(&self, plan: &Plan, gate: usize) -> f64 {
        plan.forecast_gate(gate, self.items, &self.link, &Rates::default()).seconds()
    }

    /// The least step that a coarse sign tells apart, in real numbers.
    fn coarse(&self, gate: usize, sign: Sign) -> Option<(u32, f64)> {
        let Sign::Coarse(bits) = sign else { return None };
        let operand = self.plan.gates[*self.plan.gates[gate].inputs.first()? as usize].scale;
        Some((bits, operand.unit() * f64::from(bits).exp2()))
    }

    fn comparison(&self, gate: usize) -> Option<Value> {
        let Compared { form, sign, bits } = self.plan.gates[gate].gate.compares()?;
        let digits = drelu::chunked(bits);
        let both = |of: &dyn Fn(&Plan) -> Value| {
            let chunks = digits.as_ref().map(|_| of(&self.chunks));
            json!({ "dpf": of(&self.dpf), "chunks": chunks })
        };
        let coarse = self.coarse(gate, sign);
        Some(json!({
            "form": form,
            "bits": bits,
            "digits": digits,
            "sign": if coarse.is_some() { "coarse" } else { "exact" },
            "coarse_bits": coarse.map(|(bits, _)| bits),
            "coarse_unit": coarse.map(|(_, unit)| unit),
            "forecast_seconds": both(&|plan| self.seconds(plan, gate).into()),
            "material_bytes": both(&|plan| {
                let [p0, p1] = plan.cost(gate).material;
                json!({ "p0": p0, "p1": p1 })
            }),
        }))
    }

    /// What the plan says of a gate, as JSON: costs of one item, and the forecast of one run.
    pub fn document(&self, number: usize) -> Value {
        let entry = &self.plan.gates[number];
        let cost = self.plan.cost(number);
        let sent = |party: usize| cost.exchanges.iter().map(|sent| sent[party].bits()).sum::<u64>();
        let window = window(&entry.gate);
        json!({
            "gate": number,
            "name": entry.name,
            "kind": entry.gate.kind(),
            "inputs": entry.inputs,
            "comparisons": cost.comparisons,
            "multiply_adds": cost.multiply_adds,
            "material_bytes": { "p0": cost.material[0], "p1": cost.material[1] },
            "online_bits": { "p0": sent(0), "p1": sent(1) },
            "exchanges": cost.exchanges.len(),
            "scale": { "frac_bits": entry.scale.frac, "factor": entry.scale.factor, "unit": entry.scale.unit() },
            "width": width(&entry.gate).unwrap_or(self.plan.ring),
            "window": window.map(|window| json!({ "shift": window.shift, "top": window.top })),
            "comparison": self.comparison(number),
            "forecast_seconds": self.seconds(self.plan, number),
        })
    }

    /// Bits of a gate's operands, with the window where one is cut out.
    pub fn width(&self, number: usize) -> String {
        let gate = &self.plan.gates[number].gate;
        match window(gate) {
            Some(window) => format!("{} [{}, {})", window.width(), window.shift, window.top),
            None => width(gate).map_or(String::new(), |width| width.to_string()),
        }
    }

    /// What one unit of a gate's result stands for.
    pub fn unit(&self, number: usize) -> String {
        unit(self.plan.gates[number].scale)
    }

    /// How a gate compares.
    fn form(&self, number: usize) -> Option<String> {
        let Compared { form, bits, .. } = self.plan.gates[number].gate.compares()?;
        Some(match (form, drelu::chunked(bits)) {
            (Comparison::Chunks, Some(digits)) => {
                let digits: Vec<String> = digits.iter().map(u32::to_string).collect();
                format!("chunks {}", digits.join("+"))
            }
            _ => "dpf".to_string(),
        })
    }

    /// What a coarse sign tells apart.
    fn sign(&self, number: usize) -> Option<String> {
        let (bits, unit) = self.coarse(number, self.plan.gates[number].gate.compares()?.sign)?;
        Some(format!("coarse, {bits} bits: {unit:.3}"))
    }

    /// All of it in a line.
    pub fn notes(&self, number: usize) -> String {
        let gate = &self.plan.gates[number].gate;
        let width = match (window(gate), width(gate)) {
            (Some(window), _) => format!("bits [{}, {})", window.shift, window.top),
            (None, Some(width)) => format!("{width} bits"),
            (None, None) => String::new(),
        };
        let parts = [Some(width), Some(format!("unit {}", self.unit(number))), self.form(number), self.sign(number)];
        parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    /// The comparisons as a table: what form each has, and what both forms would cost.
    pub fn comparisons(&self) -> Option<String> {
        let row = |number: usize| {
            let Compared { sign, bits, .. } = self.plan.gates[number].gate.compares()?;
            let cost = |plan: &Plan| {
                [seconds(self.seconds(plan, number)), bytes(plan.cost(number).material.iter().sum::<usize>() as u64)]
            };
            let none = || [String::new(), String::new()];
            let [dpf_time, dpf_material] = cost(&self.dpf);
            let [chunks_time, chunks_material] = drelu::chunked(bits).map_or_else(none, |_| cost(&self.chunks));
            let sign = match sign {
                Sign::Exact => "exact".to_string(),
                Sign::Coarse(_) => self.sign(number).unwrap_or_default(),
            };
            let name = format!("{number:>3} {}", self.plan.gates[number].name);
            let form = self.form(number).unwrap_or_default();
            Some(vec![name, bits.to_string(), sign, form, dpf_time, chunks_time, dpf_material, chunks_material])
        };
        let rows: Vec<_> = (0..self.plan.gates.len()).filter_map(row).collect();
        let head =
            ["comparison", "bits", "sign", "form", "dpf takes", "chunks take", "dpf material", "chunks material"];
        (!rows.is_empty()).then(|| table(&head, &rows))
    }
}
