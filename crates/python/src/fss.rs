//! Function secret sharing on NumPy arrays.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use ariann_fss::{Evaluated, Function, KeyKind, KeysError, Shares};
use ariann_ring::Ring;
use numpy::{Element, IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::{LOOK, threaded};

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
    let [first, second] = unless_interrupted(py, threads, alpha.map_or(count, <[u64]>::len), |stop| match alpha {
        Some(alpha) => ariann_fss::Keys::generate_until(stop, kind, alpha),
        None => ariann_fss::Keys::random_until(stop, kind, count),
    })?;
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
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, self.0.encoded_len(), |bytes| {
            self.0.encode_to(bytes);
            Ok(())
        })
    }

    /// The batch of these bytes.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Keys> {
        ariann_fss::Keys::decode(data).map(Keys).map_err(|error| refused(py, &error))
    }
}

impl Keys {
    fn at<'py, A: Ring>(&self, py: Python<'py>, xs: &[A], threads: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(match unless_interrupted(py, threads, xs.len(), |stop| self.0.evaluate_until(stop, xs))? {
            Evaluated::Bits(bits) => array(py, bits),
            Evaluated::Words32(words) => array(py, words),
            Evaluated::Words64(words) => array(py, words),
        })
    }
}

fn array<T: Element>(py: Python<'_>, values: Vec<T>) -> Bound<'_, PyAny> {
    values.into_pyarray(py).into_any()
}

/// Batches of so many keys are done in a blink on this thread.
const SMALL: usize = 1 << 16;

/// Computes without the interpreter's lock, on so many threads, all cores when 0. Ctrl-C ends the work within milliseconds.
fn unless_interrupted<T: Send>(
    py: Python<'_>,
    threads: usize,
    keys: usize,
    work: impl FnOnce(&AtomicBool) -> Result<T, KeysError> + Send,
) -> PyResult<T> {
    let stop = AtomicBool::new(false);
    let work = || threaded(threads, || work(&stop));
    let done = if keys <= SMALL { py.detach(work) } else { py.detach(|| watched(&stop, work)) };
    done?.map_err(|error| refused(py, &error))
}

/// The work on another thread, while this one, which alone hears signals, listens for them.
fn watched<T: Send>(stop: &AtomicBool, work: impl FnOnce() -> PyResult<T> + Send) -> PyResult<T> {
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        scope.spawn(move || drop(sender.send(work())));
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(interrupt) = Python::attach(|py| py.check_signals()) {
                        stop.store(true, Ordering::Relaxed);
                        // The scope waits for the thread.
                        return Err(interrupt);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(PyRuntimeError::new_err("a fault of ariann: please report it"));
                }
            }
        }
    })
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
