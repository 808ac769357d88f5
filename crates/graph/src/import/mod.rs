//! ONNX import: a file of the operator becomes a [`Graph`], or an error names what is wrong with it.
//!
//! Nothing of a declared size is allocated before the bytes behind it are there. Layers that cannot be computed are
//! collected and listed at once. Values that do not depend on the input are computed here; arithmetic with constants and
//! batch normalisation become scalings; identities vanish. What needs the whole graph is in [`crate::passes`].

mod activations;
mod arithmetic;
mod attributes;
mod boxes;
mod call;
mod constant;
mod curve;
mod error;
mod evaluate;
mod inputs;
mod layout;
mod linear;
mod moves;
mod operators;
mod order;
mod padding;
mod pooling;
mod reshape;
mod shape;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;

use prost::Message;

pub use error::{ImportError, UnsupportedNode};
pub use operators::{SupportedOperator, supported_operators};

use crate::graph::{Graph, Node, Op, ValueId};
use crate::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::passes;
use attributes::Attributes;
use call::Call;
use constant::Constant;
use curve::Curve;
use error::Refusal;
pub(crate) use layout::MAX_BLOCKS;
pub(crate) use shape::MAX_VALUES;
use shape::checked_len;

/// Oldest and newest operator set of ONNX whose meaning of the supported operators is known here.
pub const OPSETS: (i64, i64) = (7, 28);

/// Reads an ONNX file. External data is looked for in its folder.
pub fn import(path: &Path) -> Result<Graph, ImportError> {
    let (bytes, folder) = read(path)?;
    import_from(&bytes, Some(folder), Purpose::Prediction)
}

/// Reads the bytes of an ONNX file that has no external data.
pub fn import_bytes(bytes: &[u8]) -> Result<Graph, ImportError> {
    import_from(bytes, None, Purpose::Prediction)
}

/// Reads an ONNX file to train it: batch normalisation and dropout stay, weights and layers are the model's own, under its names.
pub fn import_for_training(path: &Path) -> Result<Graph, ImportError> {
    let (bytes, folder) = read(path)?;
    import_from(&bytes, Some(folder), Purpose::Training)
}

/// The same for the bytes of a file that has no external data.
pub fn import_for_training_bytes(bytes: &[u8]) -> Result<Graph, ImportError> {
    import_from(bytes, None, Purpose::Training)
}

fn read(path: &Path) -> Result<(Vec<u8>, &Path), ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Read { path: path.into(), source })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((bytes, folder))
}

/// What a graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Batch normalisation becomes a scaling, dropout vanishes, scalings are folded.
    Prediction,
    /// They stay.
    Training,
}

fn import_from(bytes: &[u8], folder: Option<&Path>, purpose: Purpose) -> Result<Graph, ImportError> {
    let model = ModelProto::decode(bytes).map_err(|e| ImportError::Decode { reason: e.to_string() })?;
    let graph = model.graph.as_ref().ok_or_else(|| ImportError::Decode { reason: "it holds no graph".into() })?;
    let opset = own_opset(&model)?;
    let sorted = order::sorted(graph)?;
    let (input, batch) = inputs::input(graph)?;
    let output_name = inputs::output(graph)?;
    let live = order::live(graph, &sorted, &output_name);
    let importer = Importer {
        purpose,
        model: &model,
        graph,
        folder,
        opset,
        batch,
        input_shape: input.shape.clone(),
        values: HashMap::from([(input.name.clone(), Value::Data(ValueId::INPUT))]),
        initializers: graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect(),
        uses: uses(graph, &live, &output_name),
        names: HashSet::new(),
        nodes: Vec::new(),
        padded: HashMap::new(),
        curves: HashMap::new(),
        unsupported: Vec::new(),
    };
    let (nodes, result) = importer.run(&live, &output_name)?;
    let (output, softmax) = result;
    let name = graph.name().to_string();
    let mut graph = Graph { name, input, nodes, output, output_name, softmax };
    match purpose {
        Purpose::Prediction => passes::run(&mut graph),
        Purpose::Training => passes::run_for_training(&mut graph),
    }
    Ok(graph)
}

fn own_opset(model: &ModelProto) -> Result<i64, ImportError> {
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let found = model.opset_import.iter().find(|set| own(set.domain())).map_or(1, |set| set.version());
    let (first, last) = OPSETS;
    if (first..=last).contains(&found) { Ok(found) } else { Err(ImportError::Opset { found, first, last }) }
}

fn uses(graph: &GraphProto, live: &[usize], output: &str) -> HashMap<String, usize> {
    let mut uses = HashMap::from([(output.to_string(), 1)]);
    for name in live.iter().flat_map(|&node| &graph.node[node].input) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    uses
}

/// What a name of the file stands for.
#[derive(Clone)]
enum Value {
    /// A value that depends on the input.
    Data(ValueId),
    /// The logarithms of the probabilities that these logits give, left to their receiver.
    LogSoftmax(ValueId),
    /// A part of Gelu written out.
    Curve(Rc<Curve>),
    /// A value that does not.
    Constant(Rc<Constant>),
    /// The outputs of a node that has several.
    Several(Vec<Value>),
    /// The output of a node that is not supported.
    Unknown,
}

struct Importer<'m> {
    purpose: Purpose,
    model: &'m ModelProto,
    graph: &'m GraphProto,
    folder: Option<&'m Path>,
    opset: i64,
    batch: Option<usize>,
    input_shape: Vec<usize>,
    values: HashMap<String, Value>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    uses: HashMap<String, usize>,
    names: HashSet<String>,
    nodes: Vec<Node>,
    /// Values that a Pad put zeros around: what stands inside, and how many: top, left, bottom, right.
    padded: HashMap<ValueId, (ValueId, [usize; 4])>,
    /// Values that are a known function of another one.
    curves: HashMap<ValueId, Rc<Curve>>,
    unsupported: Vec<UnsupportedNode>,
}

impl<'m> Importer<'m> {
    fn run(mut self, live: &[usize], output: &str) -> Result<(Vec<Node>, (ValueId, bool)), ImportError> {
        let protos: Vec<&'m NodeProto> = live.iter().map(|&node| &self.graph.node[node]).collect();
        self.names.extend(protos.iter().map(|node| node.name().to_string()));
        for proto in protos {
            let value = match self.node(proto) {
                Ok(value) => value,
                Err(Refusal::Fatal(error)) => return Err(error),
                Err(Refusal::Unsupported { reason, hint }) => {
                    self.note_unsupported(proto, reason, hint);
                    Value::Unknown
                }
            };
            for (index, name) in proto.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                let one = match &value {
                    Value::Several(values) => values.get(index).cloned().unwrap_or(Value::Unknown),
                    value if index == 0 => value.clone(),
                    _ => Value::Unknown,
                };
                self.values.insert(name.clone(), one);
            }
        }
        if !self.unsupported.is_empty() {
            return Err(ImportError::Unsupported { nodes: self.unsupported });
        }
        let invalid = |reason: &str| Err(ImportError::Input { name: output.into(), reason: reason.into() });
        let missing = || ImportError::Missing { tensor: output.into(), user: "the output of the graph".into() };
        match self.values.get(output).ok_or_else(missing)? {
            Value::Data(value) if *value != ValueId::INPUT => Ok((self.nodes, (*value, false))),
            Value::LogSoftmax(value) if *value != ValueId::INPUT => Ok((self.nodes, (*value, true))),
            Value::Curve(curve) => Err(ImportError::Unsupported { nodes: vec![self.unfinished(output, curve)] }),
            _ => invalid("the output does not depend on it through any layer; choose another model"),
        }
    }

    fn node(&mut self, proto: &'m NodeProto) -> Result<Value, Refusal> {
        let operator = operators::find(proto, self.model)?;
        let name = self.layer_name(proto);
        let inputs = proto.input.iter().map(|input| self.value(input, &name)).collect::<Result<Vec<_>, _>>()?;
        let mut attributes = Attributes::new(proto, &name)?;
        attributes.allow(operator.attributes)?;
        if inputs.iter().flatten().any(|value| matches!(value, Value::Unknown)) {
            return Ok(Value::Unknown);
        }
        let value = (operator.convert)(self, &Call { proto, name, inputs, attributes })?;
        let further = proto.output.iter().skip(1).find(|output| self.uses.contains_key(*output));
        match further.filter(|_| !matches!(value, Value::Several(_))) {
            None => Ok(value),
            Some(further) => {
                let reason = format!("its further output \"{further}\" is used");
                Err(Refusal::unsupported(reason, "only its first output is computed; remove what uses the other"))
            }
        }
    }

    fn value(&mut self, name: &str, user: &str) -> Result<Option<Value>, ImportError> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.clone()));
        }
        let missing = || ImportError::Missing { tensor: name.into(), user: format!("node \"{user}\"") };
        let tensor = *self.initializers.get(name).ok_or_else(missing)?;
        let value = Value::Constant(Rc::new(constant::constant(tensor, name, self.folder)?));
        self.values.insert(name.into(), value.clone());
        Ok(Some(value))
    }

    /// The node's own name, or one made from its output's.
    fn layer_name(&mut self, proto: &NodeProto) -> String {
        if !proto.name().is_empty() {
            return proto.name().to_string();
        }
        let base = proto.output.first().map_or("node", String::as_str);
        let candidates = std::iter::once(base.to_string()).chain((2..).map(|i| format!("{base}_{i}")));
        let name = candidates.into_iter().find(|name| !self.names.contains(name)).expect("names do not run out");
        self.names.insert(name.clone());
        name
    }

    fn note_unsupported(&mut self, proto: &NodeProto, reason: String, hint: String) {
        let own = matches!(proto.domain(), "" | "ai.onnx");
        let versions = &self.model.opset_import;
        let opset = if own { self.opset } else { foreign_opset(versions, proto.domain()) };
        let operator = if own { proto.op_type().into() } else { format!("{}.{}", proto.domain(), proto.op_type()) };
        let name = match proto.name() {
            "" => proto.output.first().cloned().unwrap_or_default(),
            name => name.into(),
        };
        self.unsupported.push(UnsupportedNode { name, operator, opset, reason, hint });
    }

    fn unfinished(&self, output: &str, curve: &Curve) -> UnsupportedNode {
        let (reason, hint) = match curve.refusal() {
            Refusal::Unsupported { reason, hint } => (reason, hint),
            Refusal::Fatal(error) => (error.to_string(), String::new()),
        };
        UnsupportedNode { name: output.into(), operator: "output".into(), opset: self.opset, reason, hint }
    }

    /// Adds a layer and returns its output.
    fn push(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> Result<Value, ImportError> {
        Ok(Value::Data(self.push_id(name, op, inputs, shape)?))
    }

    /// The same, for layers behind which further ones come.
    fn push_id(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, shape: Vec<usize>) -> Result<ValueId, ImportError> {
        checked_len(&shape, || format!("the output of layer \"{name}\""))?;
        let output = ValueId(self.nodes.len() + 1);
        self.nodes.push(Node { name: name.into(), op, inputs, output, shape });
        Ok(output)
    }

    fn shape(&self, value: ValueId) -> &[usize] {
        value.node().map_or(&self.input_shape, |node| &self.nodes[node].shape)
    }
}

fn foreign_opset(sets: &[crate::onnx::OperatorSetIdProto], domain: &str) -> i64 {
    sets.iter().find(|set| set.domain() == domain).map_or(0, |set| set.version())
}
