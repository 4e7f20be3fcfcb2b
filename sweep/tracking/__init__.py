"""Copies of a sweep's measurements in TensorBoard, MLflow and Weights & Biases, live and afterwards."""
