"""The ONNX form of a pipeline."""
