"""TensorFlow Datasets builders; importing one imports `tensorflow_datasets`."""
