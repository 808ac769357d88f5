//! What is computed: operators, shapes, ONNX import, rewriting passes, the float executor and the fixed-point reference.
