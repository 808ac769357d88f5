//! Function secret sharing on NumPy arrays.

use ariann_fss::{Evaluated, Function, KeyKind, KeysError, Shares};
use ariann_ring::Ring;
use numpy::{Element, IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One party's part of a batch of keys.
#[pyclass(frozen, module = "ariann._ariann")]
pub struct Keys(ariann_fss::Keys);

/// Keys of both parties: for `alpha`, or for `count` points that nobody knows.
#[pyfunction]
#[pyo3(signature = (function, shares, bits, alpha, count, threads))]
pub fn generate(
    py: Python<'_>,
    function: &str,
    shares: &str,
    bits: u32,
    alpha: Option<PyReadonlyArray1<'_, u64>>,
    count: usize,
    threads: usize,
) -> PyResult<(Keys, Keys)> {
    let function = match function {
        "less_than" => Function::LessThan,
        "equal" => Function::Equal,
        _ => return Err(PyValueError::new_err("function: give 'less_than' or 'equal'")),
    };
    let shares = match shares {
        "xor" => Shares::Xor,
        "uint32" => Shares::Additive32,
        "uint64" => Shares::Additive64,
        _ => return Err(PyValueError::new_err("shares: give 'xor', 'uint32' or 'uint64'")),
    };
    let kind = KeyKind { function, shares, domain_bits: bits };
    let alpha = alpha.as_ref().map(|alpha| alpha.as_slice()).transpose()?;
    let made = py.detach(|| {
        threaded(threads, || match alpha {
            Some(alpha) => ariann_fss::Keys::generate(kind, alpha),
            None => ariann_fss::Keys::random(kind, count),
        })
    })?;
    let [first, second] = made.map_err(|error| refused(py, &error))?;
    Ok((Keys(first), Keys(second)))
}

#[pymethods]
impl Keys {
    /// 0 or 1.
    #[getter]
    fn party(&self) -> usize {
        self.0.party().index()
    }

    /// Bits of the domain.
    #[getter]
    fn bits(&self) -> u32 {
        self.0.kind().domain_bits
    }

    /// 'less_than' or 'equal'.
    #[getter]
    fn function(&self) -> &'static str {
        match self.0.kind().function {
            Function::LessThan => "less_than",
            Function::Equal => "equal",
        }
    }

    /// 'xor', 'uint32' or 'uint64'.
    #[getter]
    fn shares(&self) -> &'static str {
        match self.0.kind().shares {
            Shares::Xor => "xor",
            Shares::Additive32 => "uint32",
            Shares::Additive64 => "uint64",
        }
    }

    /// Bytes of all keys as they are sent.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.encoded_len()
    }

    fn __len__(&self) -> usize {
        self.0.count()
    }

    /// The party's shares of the points, modulo 2^bits.
    fn alpha_shares<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.alpha_shares().into_pyarray(py)
    }

    /// The party's shares of the function at the public points x, of dtype uint32 or uint64.
    fn evaluate<'py>(&self, py: Python<'py>, x: &Bound<'py, PyAny>, threads: usize) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(x) = x.extract::<PyReadonlyArray1<'_, u32>>() {
            return self.at(py, x.as_slice()?, threads);
        }
        if let Ok(x) = x.extract::<PyReadonlyArray1<'_, u64>>() {
            return self.at(py, x.as_slice()?, threads);
        }
        Err(PyTypeError::new_err("x: give a contiguous array of one dimension, uint32 or uint64"))
    }

    /// The batch as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.encode())
    }

    /// The batch of these bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Keys> {
        ariann_fss::Keys::decode(data).map(Keys).map_err(|error| refused(py, &error))
    }
}

impl Keys {
    fn at<'py, A: Ring>(&self, py: Python<'py>, xs: &[A], threads: usize) -> PyResult<Bound<'py, PyAny>> {
        let evaluated = py.detach(|| threaded(threads, || self.0.evaluate(xs)))?;
        Ok(match evaluated.map_err(|error| refused(py, &error))? {
            Evaluated::Bits(bits) => array(py, bits),
            Evaluated::Words32(words) => array(py, words),
            Evaluated::Words64(words) => array(py, words),
        })
    }
}

fn array<T: Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyAny> {
    values.into_pyarray(py).into_any()
}

/// On so many threads; on all cores when 0.
fn threaded<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    if threads == 0 {
        return Ok(work());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| PyValueError::new_err(format!("threads: {error}")))?;
    Ok(pool.install(work))
}

fn refused(py: Python<'_>, error: &KeysError) -> PyErr {
    let fault = match error {
        KeysError::Malformed(_) => "input",
        KeysError::Entropy(_) => "machine",
        _ => "operator",
    };
    let text = error.to_string();
    let heads = ["caller: ", "input: ", "this machine: "];
    let bare = heads.iter().find_map(|head| text.strip_prefix(head)).unwrap_or(&text);
    crate::exception(py, fault, bare)
}
