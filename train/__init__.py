"""Training of the networks with TensorFlow/Keras 3: data, networks, losses, recipes, export to ONNX."""
